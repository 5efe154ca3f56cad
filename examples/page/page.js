// On your own server: wherever the package lies, such as "/node_modules/scdiva/dist/index.js". There is no build step.
import { ScDiVa } from "../../pkg/dist/index.js";

const [file, status, types] = ["file", "status", "types"].map((id) => document.getElementById(id));
const scdiva = await ScDiVa.load();
status.textContent = `Ready: ${scdiva.info.device.name}. Nothing is uploaded.`;

file.onchange = async () => {
  types.replaceChildren();
  try {
    const onProgress = ({ nDone, nCells }) => (status.textContent = `${nDone} of ${nCells} cells`);
    const { labels, label } = await scdiva.annotate(file.files[0], { onProgress });
    const counts = labels.map((name, i) => [name, label.filter((code) => code === i).length]);
    for (const [name, n] of counts.filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1])) {
      types.append(Object.assign(document.createElement("li"), { textContent: `${name}: ${n}` }));
    }
    status.textContent = `${label.length} cells`;
  } catch (error) {
    status.textContent = `${error.code}: ${error.message}`;
  }
};
