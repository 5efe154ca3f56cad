// best[r]: the n_best smallest scores of row r so far, rising, of equal ones that of the lower candidate first; then their candidates, as f32
// Grid: one thread a row, 64 a workgroup, workgroups over x then y.

struct Params {
    n_rows: u32,
    n_scores: u32,
    n_best: u32,
    first: u32, // the candidate of the first score; 0 begins anew
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>; // [n_rows, n_scores]
@group(0) @binding(2) var<storage, read_write> best: array<f32>; // [n_rows, 2 * n_best]

const NONE: f32 = 3.0e38;

@compute @workgroup_size(64)
fn nearest(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = (workgroup.x + workgroup.y * n_workgroups.x) * 64u + thread;
    if row >= params.n_rows {
        return;
    }
    let start = row * 2u * params.n_best;
    if params.first == 0u {
        for (var i = 0u; i < params.n_best; i += 1u) {
            best[start + i] = NONE;
            best[start + params.n_best + i] = -1.0;
        }
    }
    let last = start + params.n_best - 1u;
    var worst = best[last];
    // Nearly always nothing passes: of n candidates in any order about n_best * ln(n / n_best) do.
    for (var candidate = 0u; candidate < params.n_scores; candidate += 1u) {
        let score = scores[row * params.n_scores + candidate];
        if score < worst {
            var place = last;
            while place > start && best[place - 1u] > score {
                best[place] = best[place - 1u];
                best[place + params.n_best] = best[place + params.n_best - 1u];
                place -= 1u;
            }
            best[place] = score;
            best[place + params.n_best] = f32(params.first + candidate);
            worst = best[last];
        }
    }
}
