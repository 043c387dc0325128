// What a report does when it is opened: unpack the stores that it carries, and show them.

function bytesOf(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place += 1) bytes[place] = letters.charCodeAt(place);
  return bytes;
}

const indices = JSON.parse(document.getElementById("stores").textContent);
const packed = indices.map((index, place) => ({ index, data: bytesOf(document.getElementById(`store-${place}`).textContent) }));
await mount(document.getElementById("explorer"), packed, { themed: document.documentElement });
