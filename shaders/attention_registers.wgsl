// out[q, h, c] = sum over keys of softmax(q . k / sqrt(head_size)) * v[key, h, c], for adapters that compute on the CPU; head_size, columns and widths are multiples of 4
// Grid: 16 threads a workgroup, over x then y; a thread has 8 queries of one head, neighbouring threads have neighbouring heads.
//
// As attention, without workgroup memory (see linear_registers). The sums of a thread's queries stay in out between tiles of 8 keys.

const PARTS = 4u; // of a tile of 32 queries
const LOWEST = -3.0e38;

// A query and its tile of 8 keys.
struct Query {
    a: vec4<f32>, // scores of the first 4 keys, then their weights
    b: vec4<f32>,
    largest: f32,
    sum: f32,
    shrink: f32, // what earlier tiles' weights are multiplied by
}

// The scores of 4 keys; LOWEST past the end, so that their weight is exp(-3e38 - largest) = 0.
fn masked(scores: vec4<f32>, key: u32, n_keys: u32) -> vec4<f32> {
    return select(vec4<f32>(LOWEST), scores * params.scale, vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n_keys));
}

// Scores become weights; with the last tile the weights of all keys sum to 1.
fn weigh(query: ptr<function, Query>, key: u32, n_keys: u32) {
    let a = masked((*query).a, key, n_keys);
    let b = masked((*query).b, key + 4u, n_keys);
    let most = max(a, b);
    let largest = max((*query).largest, max(max(most.x, most.y), max(most.z, most.w)));
    let shrink = exp((*query).largest - largest);
    let weight_a = exp(a - largest);
    let weight_b = exp(b - largest);
    let sum = (*query).sum * shrink + dot(weight_a + weight_b, vec4<f32>(1.0));
    let factor = select(1.0, 1.0 / sum, key + 8u >= n_keys);
    *query = Query(weight_a * factor, weight_b * factor, largest, sum, shrink * factor);
}

fn add(
    query: Query, key: u32, at: u32,
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>, v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
) {
    var sums = query.a.x * v0 + query.a.y * v1 + query.a.z * v2 + query.a.w * v3
        + query.b.x * v4 + query.b.y * v5 + query.b.z * v6 + query.b.w * v7;
    if key > 0u {
        sums += query.shrink * out[at];
    }
    out[at] = sums;
}

@compute @workgroup_size(16)
fn attention_registers(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (workgroup.x + workgroup.y * n_workgroups.x) * 16u + thread;
    let part = index / params.n_heads;
    if part >= params.n_tiles * PARTS {
        return;
    }
    let tile = tiles[part / PARTS];
    let first = part % PARTS * 8u;
    if first >= tile.y {
        return;
    }
    let n_queries = min(8u, tile.y - first);
    let n_keys = tile.w;
    let head_col = index % params.n_heads * params.head_size;
    let n_parts = params.head_size / 4u;
    let k_step = params.k_n_cols / 4u;
    let v_step = params.v_n_cols / 4u;
    let out_step = params.out_n_cols / 4u;
    let k_start = (tile.z * params.k_n_cols + params.k_first_col + head_col) / 4u;
    let v_start = (tile.z * params.v_n_cols + params.v_first_col + head_col) / 4u;
    let out_start = ((tile.x + first) * params.out_n_cols + params.out_first_col + head_col) / 4u;
    let q_start = ((tile.x + first) * params.q_n_cols + params.q_first_col + head_col) / 4u;
    // Queries past the end are read as the last one, and not written.
    let q0_start = q_start + min(0u, n_queries - 1u) * (params.q_n_cols / 4u);
    let q1_start = q_start + min(1u, n_queries - 1u) * (params.q_n_cols / 4u);
    let q2_start = q_start + min(2u, n_queries - 1u) * (params.q_n_cols / 4u);
    let q3_start = q_start + min(3u, n_queries - 1u) * (params.q_n_cols / 4u);
    let q4_start = q_start + min(4u, n_queries - 1u) * (params.q_n_cols / 4u);
    let q5_start = q_start + min(5u, n_queries - 1u) * (params.q_n_cols / 4u);
    let q6_start = q_start + min(6u, n_queries - 1u) * (params.q_n_cols / 4u);
    let q7_start = q_start + min(7u, n_queries - 1u) * (params.q_n_cols / 4u);
    var query0 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query1 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query2 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query3 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query4 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query5 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query6 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query7 = Query(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    for (var key = 0u; key < n_keys; key += 8u) {
        let row0 = min(key + 0u, n_keys - 1u);
        let row1 = min(key + 1u, n_keys - 1u);
        let row2 = min(key + 2u, n_keys - 1u);
        let row3 = min(key + 3u, n_keys - 1u);
        let row4 = min(key + 4u, n_keys - 1u);
        let row5 = min(key + 5u, n_keys - 1u);
        let row6 = min(key + 6u, n_keys - 1u);
        let row7 = min(key + 7u, n_keys - 1u);
        query0.a = vec4<f32>();
        query0.b = vec4<f32>();
        query1.a = vec4<f32>();
        query1.b = vec4<f32>();
        query2.a = vec4<f32>();
        query2.b = vec4<f32>();
        query3.a = vec4<f32>();
        query3.b = vec4<f32>();
        query4.a = vec4<f32>();
        query4.b = vec4<f32>();
        query5.a = vec4<f32>();
        query5.b = vec4<f32>();
        query6.a = vec4<f32>();
        query6.b = vec4<f32>();
        query7.a = vec4<f32>();
        query7.b = vec4<f32>();
        for (var i = 0u; i < n_parts; i += 1u) {
            let k0 = k[k_start + row0 * k_step + i];
            let k1 = k[k_start + row1 * k_step + i];
            let k2 = k[k_start + row2 * k_step + i];
            let k3 = k[k_start + row3 * k_step + i];
            let k4 = k[k_start + row4 * k_step + i];
            let k5 = k[k_start + row5 * k_step + i];
            let k6 = k[k_start + row6 * k_step + i];
            let k7 = k[k_start + row7 * k_step + i];
            let q0 = q[q0_start + i];
            query0.a += products(q0, k0, k1, k2, k3);
            query0.b += products(q0, k4, k5, k6, k7);
            let q1 = q[q1_start + i];
            query1.a += products(q1, k0, k1, k2, k3);
            query1.b += products(q1, k4, k5, k6, k7);
            let q2 = q[q2_start + i];
            query2.a += products(q2, k0, k1, k2, k3);
            query2.b += products(q2, k4, k5, k6, k7);
            let q3 = q[q3_start + i];
            query3.a += products(q3, k0, k1, k2, k3);
            query3.b += products(q3, k4, k5, k6, k7);
            let q4 = q[q4_start + i];
            query4.a += products(q4, k0, k1, k2, k3);
            query4.b += products(q4, k4, k5, k6, k7);
            let q5 = q[q5_start + i];
            query5.a += products(q5, k0, k1, k2, k3);
            query5.b += products(q5, k4, k5, k6, k7);
            let q6 = q[q6_start + i];
            query6.a += products(q6, k0, k1, k2, k3);
            query6.b += products(q6, k4, k5, k6, k7);
            let q7 = q[q7_start + i];
            query7.a += products(q7, k0, k1, k2, k3);
            query7.b += products(q7, k4, k5, k6, k7);
        }
        weigh(&query0, key, n_keys);
        weigh(&query1, key, n_keys);
        weigh(&query2, key, n_keys);
        weigh(&query3, key, n_keys);
        weigh(&query4, key, n_keys);
        weigh(&query5, key, n_keys);
        weigh(&query6, key, n_keys);
        weigh(&query7, key, n_keys);
        for (var i = 0u; i < n_parts; i += 1u) {
            let v0 = v[v_start + row0 * v_step + i];
            let v1 = v[v_start + row1 * v_step + i];
            let v2 = v[v_start + row2 * v_step + i];
            let v3 = v[v_start + row3 * v_step + i];
            let v4 = v[v_start + row4 * v_step + i];
            let v5 = v[v_start + row5 * v_step + i];
            let v6 = v[v_start + row6 * v_step + i];
            let v7 = v[v_start + row7 * v_step + i];
            if 0u < n_queries {
                add(query0, key, out_start + 0u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
            if 1u < n_queries {
                add(query1, key, out_start + 1u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
            if 2u < n_queries {
                add(query2, key, out_start + 2u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
            if 3u < n_queries {
                add(query3, key, out_start + 3u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
            if 4u < n_queries {
                add(query4, key, out_start + 4u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
            if 5u < n_queries {
                add(query5, key, out_start + 5u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
            if 6u < n_queries {
                add(query6, key, out_start + 6u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
            if 7u < n_queries {
                add(query7, key, out_start + 7u * out_step + i, v0, v1, v2, v3, v4, v5, v6, v7);
            }
        }
    }
}
