import { createRoot } from "react-dom/client";
import { CellTypes } from "./CellTypes.js";

createRoot(document.getElementById("root")!).render(<CellTypes />);
