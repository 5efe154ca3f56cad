// out[q, h, c] = sum over keys of softmax(q . k / sqrt(head_size)) * v[key, h, c], inside one cell, without a stored score matrix
// Grid: x and y tiles of up to 32 queries of one cell, z = head * n_blocks + block of 64 columns; 8 x 8 threads, each 4 queries.
//
// Keys come in tiles of 32. The running maximum and sum of each query are kept (online softmax, Milakov and Gimelshein 2018),
// so that earlier tiles are scaled down when a later one holds a larger score.

struct Params {
    n_tiles: u32,
    n_blocks: u32, // blocks of 64 columns in a head
    head_size: u32,
    scale: f32, // 1 / sqrt(head_size)
    q_first_col: u32,
    q_n_cols: u32,
    k_first_col: u32,
    k_n_cols: u32,
    v_first_col: u32,
    v_n_cols: u32,
    out_n_cols: u32,
    out_first_col: u32, // of the first head
}

// Whether a block has more than 32 columns; narrow heads skip the second half of the work.
override WIDE: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>; // [n_tiles]: first query row, n_queries, first key row, n_keys
@group(0) @binding(2) var<storage, read> q: array<f32>; // [n_queries of all cells, q_n_cols]
@group(0) @binding(3) var<storage, read> k: array<f32>; // [n_rows, k_n_cols]
@group(0) @binding(4) var<storage, read> v: array<f32>; // [n_rows, v_n_cols]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [n_queries of all cells, out_n_cols]

const TILE = 32u; // queries, and keys
const STEP = 16u; // head columns that are multiplied at a time
const LOWEST = -3.0e38;

// One after the other: q [STEP, 32] and k [STEP, 32]; the maxima [32, 8]; v [32, 64].
var<workgroup> shared_tile: array<f32, 2048>;
var<workgroup> weights: array<f32, 1024>; // [32 keys, 32 queries]

@compute @workgroup_size(64)
fn attention(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = workgroup.x + workgroup.y * n_workgroups.x;
    if tile >= params.n_tiles {
        return;
    }
    let first_query = tiles[tile].x;
    let n_queries = tiles[tile].y;
    let first_key = tiles[tile].z;
    let n_keys = tiles[tile].w;
    let head_col = (workgroup.z / params.n_blocks) * params.head_size;
    let block_col = (workgroup.z % params.n_blocks) * 64u;
    let n_block_cols = min(64u, params.head_size - block_col);

    let lane = thread % 8u; // owns 4 keys of a tile, and 8 columns of v
    let query = (thread / 8u) * 4u; // owns 4 queries

    var largest = vec4<f32>(LOWEST);
    var sum = vec4<f32>(); // this thread's part only; added up over the lanes at the end
    var out0a = vec4<f32>();
    var out1a = vec4<f32>();
    var out2a = vec4<f32>();
    var out3a = vec4<f32>();
    var out0b = vec4<f32>();
    var out1b = vec4<f32>();
    var out2b = vec4<f32>();
    var out3b = vec4<f32>();

    for (var key0 = 0u; key0 < n_keys; key0 += TILE) {
        // Scores of 4 queries (components) by 4 keys.
        var score0 = vec4<f32>();
        var score1 = vec4<f32>();
        var score2 = vec4<f32>();
        var score3 = vec4<f32>();
        for (var col0 = 0u; col0 < params.head_size; col0 += STEP) {
            for (var i = thread; i < STEP * TILE; i += 64u) {
                let row = i / STEP;
                let col = i % STEP;
                var q_value = 0.0;
                var k_value = 0.0;
                if col0 + col < params.head_size {
                    if row < n_queries {
                        q_value = q[(first_query + row) * params.q_n_cols + params.q_first_col + head_col + col0 + col];
                    }
                    if key0 + row < n_keys {
                        k_value = k[(first_key + key0 + row) * params.k_n_cols + params.k_first_col + head_col + col0 + col];
                    }
                }
                shared_tile[col * TILE + row] = q_value;
                shared_tile[STEP * TILE + col * TILE + row] = k_value;
            }
            workgroupBarrier();
            for (var col = 0u; col < STEP; col += 1u) {
                let at = col * TILE + query;
                let q_values = vec4<f32>(shared_tile[at], shared_tile[at + 1u], shared_tile[at + 2u], shared_tile[at + 3u]);
                let key = STEP * TILE + col * TILE + lane * 4u;
                score0 += q_values * shared_tile[key];
                score1 += q_values * shared_tile[key + 1u];
                score2 += q_values * shared_tile[key + 2u];
                score3 += q_values * shared_tile[key + 3u];
            }
            workgroupBarrier();
        }
        let key = key0 + lane * 4u;
        score0 = select(vec4<f32>(LOWEST), score0 * params.scale, key < n_keys);
        score1 = select(vec4<f32>(LOWEST), score1 * params.scale, key + 1u < n_keys);
        score2 = select(vec4<f32>(LOWEST), score2 * params.scale, key + 2u < n_keys);
        score3 = select(vec4<f32>(LOWEST), score3 * params.scale, key + 3u < n_keys);

        let own = max(max(score0, score1), max(score2, score3));
        for (var i = 0u; i < 4u; i += 1u) {
            shared_tile[(query + i) * 8u + lane] = own[i];
        }
        workgroupBarrier();
        var new_largest = largest;
        for (var i = 0u; i < 4u; i += 1u) {
            for (var other = 0u; other < 8u; other += 1u) {
                new_largest[i] = max(new_largest[i], shared_tile[(query + i) * 8u + other]);
            }
        }
        let shrink = exp(largest - new_largest);
        largest = new_largest;
        // A key past the end has weight exp(-3e38 - largest) = 0: key0 < n_keys, so largest is the score of a real key.
        let weight0 = exp(score0 - largest);
        let weight1 = exp(score1 - largest);
        let weight2 = exp(score2 - largest);
        let weight3 = exp(score3 - largest);
        sum = sum * shrink + weight0 + weight1 + weight2 + weight3;
        out0a *= shrink.x;
        out1a *= shrink.y;
        out2a *= shrink.z;
        out3a *= shrink.w;
        out0b *= shrink.x;
        out1b *= shrink.y;
        out2b *= shrink.z;
        out3b *= shrink.w;
        for (var i = 0u; i < 4u; i += 1u) {
            weights[(lane * 4u) * TILE + query + i] = weight0[i];
            weights[(lane * 4u + 1u) * TILE + query + i] = weight1[i];
            weights[(lane * 4u + 2u) * TILE + query + i] = weight2[i];
            weights[(lane * 4u + 3u) * TILE + query + i] = weight3[i];
        }
        // The maxima have been read by all before v overwrites them.
        workgroupBarrier();
        for (var i = thread; i < TILE * 64u; i += 64u) {
            let row = i / 64u;
            let col = i % 64u;
            var value = 0.0;
            if key0 + row < n_keys && col < n_block_cols {
                value = v[(first_key + key0 + row) * params.v_n_cols + params.v_first_col + head_col + block_col + col];
            }
            shared_tile[i] = value;
        }
        workgroupBarrier();
        for (var row = 0u; row < TILE; row += 1u) {
            let weight = row * TILE + query;
            let w = vec4<f32>(weights[weight], weights[weight + 1u], weights[weight + 2u], weights[weight + 3u]);
            let a = row * 64u + lane * 4u;
            let va = vec4<f32>(shared_tile[a], shared_tile[a + 1u], shared_tile[a + 2u], shared_tile[a + 3u]);
            out0a += w.x * va;
            out1a += w.y * va;
            out2a += w.z * va;
            out3a += w.w * va;
            if WIDE {
                let b = a + 32u;
                let vb = vec4<f32>(shared_tile[b], shared_tile[b + 1u], shared_tile[b + 2u], shared_tile[b + 3u]);
                out0b += w.x * vb;
                out1b += w.y * vb;
                out2b += w.z * vb;
                out3b += w.w * vb;
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 4u; i += 1u) {
        shared_tile[(query + i) * 8u + lane] = sum[i];
    }
    workgroupBarrier();
    var total = vec4<f32>();
    for (var i = 0u; i < 4u; i += 1u) {
        for (var other = 0u; other < 8u; other += 1u) {
            total[i] += shared_tile[(query + i) * 8u + other];
        }
    }
    var parts_a = array<vec4<f32>, 4>(out0a / total.x, out1a / total.y, out2a / total.z, out3a / total.w);
    var parts_b = array<vec4<f32>, 4>(out0b / total.x, out1b / total.y, out2b / total.z, out3b / total.w);
    for (var i = 0u; i < 4u; i += 1u) {
        if query + i < n_queries {
            let to = (first_query + query + i) * params.out_n_cols + params.out_first_col + head_col + block_col;
            for (var j = 0u; j < 4u; j += 1u) {
                let col = lane * 4u + j;
                if col < n_block_cols {
                    out[to + col] = parts_a[i][j];
                }
                if WIDE && col + 32u < n_block_cols {
                    out[to + col + 32u] = parts_b[i][j];
                }
            }
        }
    }
}
