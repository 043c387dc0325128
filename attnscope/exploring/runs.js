// A table that sorts by the column that is clicked: first the highest, then the lowest; what has no value stays below.

for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, column) => {
    const { sort } = row.cells[column].dataset;
    return sort === "" ? null : Number.isNaN(Number(sort)) ? sort : Number(sort);
  };
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
    const order = (first, second) => {
      const [one, other] = [value(first, column), value(second, column)];
      if (one === null || other === null) return (one === null) - (other === null);
      return sign * (typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other)));
    };
    body.append(...[...body.rows].sort(order));
  }));
}
