import { ScDiVa } from "../../pkg/dist/index.js";

globalThis.ScDiVa = ScDiVa;
