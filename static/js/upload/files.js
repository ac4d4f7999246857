/* Files out of what was chosen or dropped, folders included. Gives {file, name}, where name tells the folder too. */

const named = (file, name) => ({ file, name: name || file.webkitRelativePath || file.name });

const inFolder = (name) => name.includes("/");

/* What a folder holds besides pictures is left out, as nobody chose it; hidden files too. */
export function pictures(found, extensions) {
  const isPicture = ({ file, name }) =>
    !inFolder(name) || (!file.name.startsWith(".") && extensions.has(extension(file.name)));
  return found.filter(isPicture);
}

export function extension(name) {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot + 1).toLowerCase() : "";
}

export const chosenFiles = (input) => [...input.files].map((file) => named(file));

/* The entries must be asked for before the event ends, hence no `await` before that. */
export function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return Promise.resolve([...transfer.files].map((file) => named(file)));
  return Promise.all(entries.filter(Boolean).map(read)).then((lists) => lists.flat());
}

async function read(entry) {
  if (entry.isFile) {
    // A file that cannot be opened costs no other.
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    return file ? [named(file, entry.fullPath.replace(/^\//, ""))] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // Each call gives some of the entries, up to a hundred, and none when all were given.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return found;
    for (const child of some) found.push(...(await read(child)));
  }
}
