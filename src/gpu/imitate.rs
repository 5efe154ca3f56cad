//! Kernels for matrix units, rewritten to plain WGSL: so that what they do with places and barriers is tested where there are no such units.

use super::kernels::MATRIX_IMITATED;
use std::collections::BTreeSet;

/// What imitated squares do not need, or have of their own.
const LEFT_OUT: [&str; 6] = [
    "enable wgpu_cooperative_matrix;",
    "alias Left = ",
    "alias Right = ",
    "alias Sum = ",
    "@builtin(subgroup_id)",
    "@builtin(subgroup_invocation_id)",
];

/// A kernel's whole text with every square as numbers of its threads.
pub(super) fn matrix(source: &str) -> String {
    let mut out = String::with_capacity(2 * source.len());
    let mut helpers = BTreeSet::new();
    let mut is_in_head = false;
    for line in source.lines() {
        if LEFT_OUT.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        out.push_str(&with_calls(line, &mut helpers));
        out.push('\n');
        is_in_head |= line.starts_with("@compute");
        if is_in_head && line == ") {" {
            is_in_head = false;
            out.push_str("let subgroup = thread / LANES;\nlet lane = thread % LANES;\n");
        }
    }
    out.push_str(MATRIX_IMITATED);
    out.extend(helpers);
    out
}

/// A line whose loads and stores of squares are calls of `helpers`, one for each array.
fn with_calls(line: &str, helpers: &mut BTreeSet<String>) -> String {
    let line = line
        .replace("subgroupShuffleXor(", "shuffle_xor(thread, ")
        .replace("subgroupAny(", "any_of(thread, ")
        .replace("coopMultiplyAdd(", "multiply_add(");
    let mut out = String::new();
    let mut rest = line.as_str();
    // coopLoadT<Left>(&array[first], stride) and coopStoreT(sum, &array[first], stride); without the T, columns are what is in a line.
    while let Some((before, call)) = rest.split_once("coop") {
        let (call, after) = call.split_once(')').unwrap_or((call, ""));
        let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
        let (sum, place) = arguments.split_once('&').unwrap_or(("", arguments));
        let (array, place) = place.split_once('[').unwrap_or((place, ""));
        let (first, stride) = place.split_once("], ").unwrap_or((place, ""));
        let (name, kind) = name.split_once('<').unwrap_or((name, "Sum>"));
        let kind = kind.trim_end_matches('>');
        let is_by_rows = name.ends_with('T');
        let function = format!("{}_{kind}_{array}", if name.starts_with("Load") { "load" } else { "store" });
        out.push_str(&format!("{before}{function}({sum}lane, {first}, {stride}, {is_by_rows})"));
        helpers.insert(definition(&function, kind, array));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The function that loads what a thread has of a square from an array of fours in workgroup memory, or stores it.
fn definition(function: &str, kind: &str, array: &str) -> String {
    // Which number of the square is which of the thread's, in two loops.
    let (n_rows, row, n_cols, col) = match kind {
        "Left" => ("1u", "lane / ROW_LANES", "SIDE", "j"),
        "Right" => ("SIDE", "i", "COLS", "lane % ROW_LANES * COLS + j"),
        _ => ("1u", "lane / ROW_LANES", "COLS", "lane % ROW_LANES * COLS + j"),
    };
    let place = format!("{array}[first + line * stride + at / 4u][at % 4u]");
    let (given, result, start, step, end) = match function.starts_with("load") {
        true => (
            String::new(),
            format!("-> {kind} "),
            format!("var own: {kind};"),
            format!("own[i * {n_cols} + j] = f32({place});"),
            "return own;\n",
        ),
        false => (
            format!("given: {kind}, "),
            String::new(),
            "var own = given;".to_owned(),
            format!("{place} = own[j];"),
            "",
        ),
    };
    format!(
        "fn {function}({given}lane: u32, first: u32, stride: u32, by_rows: bool) {result}{{
{start}
for (var i = 0u; i < {n_rows}; i++) {{
for (var j = 0u; j < {n_cols}; j++) {{
let row = {row};
let col = {col};
let line = select(col, row, by_rows);
let at = select(row, col, by_rows);
{step}
}}
}}
{end}}}
"
    )
}
