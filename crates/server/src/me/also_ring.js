// The list of who rings beside the phones of the user: one row for each, with fields.
//
// Decides how a row looks, and what its fields mean. It does not know the server.

const keys = ({ to, after = "", hours = "" }) => ({ to, ...(after && { after }), ...(hours && { hours }) });

/** As it is compared. */
export const textOf = parties => JSON.stringify(parties.map(keys));

function field(name, label, value, limit) {
  const input = document.createElement("input");
  input.name = name;
  input.setAttribute("aria-label", label);
  input.value = value;
  input.maxLength = limit;
  input.autocapitalize = "none";
  input.spellcheck = false;
  return input;
}

export class AlsoRing {
  #list;
  #hours = [];

  /** `list`: gets the rows; `add`: the button for a further one. */
  constructor(list, add) {
    this.#list = list;
    add.addEventListener("click", () => {
      const row = this.#row({ to: "" });
      this.#list.append(row);
      row.querySelector("input").focus();
    });
  }

  /** Shows these parties. `hours`: the names of hours that a party may have. */
  show(parties, hours) {
    this.#hours = hours;
    this.#list.replaceChildren(...parties.map(party => this.#row(party)));
  }

  /** What the rows say; a row without a name is left out. */
  parties() {
    const value = (row, name) => row.querySelector(`[name=${name}]`).value.trim();
    const rows = [...this.#list.children].map(row => keys({ to: value(row, "to"), after: value(row, "after"), hours: value(row, "hours") }));
    return rows.filter(({ to }) => to !== "");
  }

  #row({ to, after = "", hours = "" }) {
    const row = document.createElement("li");
    row.className = "beside";
    const delay = field("after", "How long after my phones, for example 10s", after, 20);
    delay.placeholder = "at once";
    const choice = document.createElement("select");
    choice.name = "hours";
    choice.setAttribute("aria-label", "When it rings");
    choice.append(new Option("at any time", ""), ...this.#hours.map(name => new Option(`hours: ${name}`, name)));
    choice.value = hours;
    choice.hidden = this.#hours.length === 0;
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "quiet";
    remove.textContent = "remove";
    remove.addEventListener("click", () => row.remove());
    row.append(field("to", "User, group or number", to, 200), delay, choice, remove);
    return row;
  }
}
