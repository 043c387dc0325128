"""Read and write videos: the one room that decodes, for probing, metrics and datasets alike."""

from attnscope.video.files import DEFAULT_SIGMAS, Footage, fps_of, read_frames, read_video, write_video

__all__ = ["DEFAULT_SIGMAS", "Footage", "fps_of", "read_frames", "read_video", "write_video"]
