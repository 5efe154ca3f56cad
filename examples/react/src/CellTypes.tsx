import { useEffect, useState } from "react";
import { ScDiVa, ScDiVaError, type Annotation, type Progress } from "scdiva";

/** Asks for a file and shows how many cells of each type it holds. */
export function CellTypes() {
  const [scdiva, setScdiva] = useState<ScDiVa>();
  const [file, setFile] = useState<File>();
  const [progress, setProgress] = useState<Progress>();
  const [annotation, setAnnotation] = useState<Annotation>();
  const [problem, setProblem] = useState<string>();

  useEffect(() => {
    const loading = ScDiVa.load();
    loading.then(setScdiva, (error: ScDiVaError) => setProblem(error.message));
    return () => void loading.then((scdiva) => scdiva.dispose()).catch(() => undefined);
  }, []);

  useEffect(() => {
    if (!scdiva || !file) return;
    // Another file, or leaving the page, ends the task.
    const controller = new AbortController();
    setAnnotation(undefined);
    setProblem(undefined);
    scdiva
      .annotate(file, { onProgress: setProgress, signal: controller.signal })
      .then(setAnnotation)
      .catch((error: ScDiVaError) => error.code !== "cancelled" && setProblem(error.message))
      .finally(() => setProgress(undefined));
    return () => controller.abort();
  }, [scdiva, file]);

  return (
    <main>
      <label>
        A count matrix: <input type="file" disabled={!scdiva} onChange={(event) => setFile(event.target.files?.[0])} />
      </label>
      {progress && <progress value={progress.nDone} max={progress.nCells} />}
      {problem && <p role="alert">{problem}</p>}
      {annotation && (
        <table>
          <tbody>
            {countTypes(annotation).map(([label, n]) => (
              <tr key={label}>
                <td>{label}</td>
                <td>{n}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </main>
  );
}

function countTypes({ labels, label }: Annotation): [string, number][] {
  const counts = labels.map((name, i): [string, number] => [name, label.filter((code) => code === i).length]);
  return counts.filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
}
