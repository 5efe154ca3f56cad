// Annotates the files it is given, one after the other, and prints what came of each: its number of cells, or the error's code and text.
import { ScDiVa } from "scdiva";

const answers = [];
const failed = ({ code, message }) => answers.push([code, message]);
await ScDiVa.load().then(async (scdiva) => {
  for (const file of process.argv.slice(2)) await scdiva.annotate(file).then(({ cells }) => answers.push(cells.length), failed);
  scdiva.dispose();
}, failed);
console.log(JSON.stringify(answers));
