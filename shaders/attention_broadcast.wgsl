// out[q, h, c] = sum over keys of softmax(q . k / sqrt(head_size)) * v[key, h, c], for adapters that compute on the CPU
// and whose subgroups have 8 threads or more; head_size, columns and widths are multiples of 4
// Grid: x and y tiles of up to 32 queries of one cell, z heads; 8 threads, each 4 queries.
//
// As attention_registers, but a thread loads a key for its whole subgroup. The sums of a thread's queries stay in out between tiles of 16 keys.

const LOWEST = -3.0e38;

// A query and its tile of 16 keys: scores, then weights.
struct Query {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
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
    let c = masked((*query).c, key + 8u, n_keys);
    let d = masked((*query).d, key + 12u, n_keys);
    let most = max(max(a, b), max(c, d));
    let largest = max((*query).largest, max(max(most.x, most.y), max(most.z, most.w)));
    let shrink = exp((*query).largest - largest);
    let weight_a = exp(a - largest);
    let weight_b = exp(b - largest);
    let weight_c = exp(c - largest);
    let weight_d = exp(d - largest);
    let sum = (*query).sum * shrink + dot(weight_a + weight_b + weight_c + weight_d, vec4<f32>(1.0));
    let factor = select(1.0, 1.0 / sum, key + 16u >= n_keys);
    *query = Query(weight_a * factor, weight_b * factor, weight_c * factor, weight_d * factor, largest, sum, shrink * factor);
}

// Adds a tile's part to a sum that stays in out.
fn add(at: u32, key: u32, shrink: f32, part: vec4<f32>) {
    var sum = part;
    if key > 0u {
        sum += shrink * out[at];
    }
    out[at] = sum;
}

@compute @workgroup_size(8)
fn attention_broadcast(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let index = workgroup.x + workgroup.y * n_workgroups.x;
    if index >= params.n_tiles {
        return;
    }
    let tile = tiles[index];
    let n_keys = tile.w;
    let head_col = workgroup.z * params.head_size;
    let n_parts = params.head_size / 4u;
    let k_step = params.k_n_cols / 4u;
    let v_step = params.v_n_cols / 4u;
    let out_step = params.out_n_cols / 4u;
    let k_start = (tile.z * params.k_n_cols + params.k_first_col + head_col) / 4u;
    let v_start = (tile.z * params.v_n_cols + params.v_first_col + head_col) / 4u;
    let q_start = (tile.x * params.q_n_cols + params.q_first_col + head_col) / 4u;
    let out_start = (tile.x * params.out_n_cols + params.out_first_col + head_col) / 4u;
    // Queries past the end are read as the last one, and not written.
    let first = thread * 4u;
    let q0_start = q_start + min(first + 0u, tile.y - 1u) * (params.q_n_cols / 4u);
    let out0_start = out_start + (first + 0u) * out_step;
    let q1_start = q_start + min(first + 1u, tile.y - 1u) * (params.q_n_cols / 4u);
    let out1_start = out_start + (first + 1u) * out_step;
    let q2_start = q_start + min(first + 2u, tile.y - 1u) * (params.q_n_cols / 4u);
    let out2_start = out_start + (first + 2u) * out_step;
    let q3_start = q_start + min(first + 3u, tile.y - 1u) * (params.q_n_cols / 4u);
    let out3_start = out_start + (first + 3u) * out_step;
    var query0 = Query(vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query1 = Query(vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query2 = Query(vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    var query3 = Query(vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), LOWEST, 0.0, 0.0);
    for (var key = 0u; key < n_keys; key += 16u) {
        let low_row = min(key + lane % 8u, n_keys - 1u);
        let high_row = min(key + 8u + lane % 8u, n_keys - 1u);
        query0.a = vec4<f32>();
        query0.b = vec4<f32>();
        query0.c = vec4<f32>();
        query0.d = vec4<f32>();
        query1.a = vec4<f32>();
        query1.b = vec4<f32>();
        query1.c = vec4<f32>();
        query1.d = vec4<f32>();
        query2.a = vec4<f32>();
        query2.b = vec4<f32>();
        query2.c = vec4<f32>();
        query2.d = vec4<f32>();
        query3.a = vec4<f32>();
        query3.b = vec4<f32>();
        query3.c = vec4<f32>();
        query3.d = vec4<f32>();
        for (var i = 0u; i < n_parts; i += 1u) {
            let low = k[k_start + low_row * k_step + i];
            let high = k[k_start + high_row * k_step + i];
            let q0 = q[q0_start + i];
            let q1 = q[q1_start + i];
            let q2 = q[q2_start + i];
            let q3 = q[q3_start + i];
            let a0 = subgroupBroadcast(low, 0u);
            let a1 = subgroupBroadcast(low, 1u);
            let a2 = subgroupBroadcast(low, 2u);
            let a3 = subgroupBroadcast(low, 3u);
            query0.a += products(q0, a0, a1, a2, a3);
            query1.a += products(q1, a0, a1, a2, a3);
            query2.a += products(q2, a0, a1, a2, a3);
            query3.a += products(q3, a0, a1, a2, a3);
            let b0 = subgroupBroadcast(low, 4u);
            let b1 = subgroupBroadcast(low, 5u);
            let b2 = subgroupBroadcast(low, 6u);
            let b3 = subgroupBroadcast(low, 7u);
            query0.b += products(q0, b0, b1, b2, b3);
            query1.b += products(q1, b0, b1, b2, b3);
            query2.b += products(q2, b0, b1, b2, b3);
            query3.b += products(q3, b0, b1, b2, b3);
            let c0 = subgroupBroadcast(high, 0u);
            let c1 = subgroupBroadcast(high, 1u);
            let c2 = subgroupBroadcast(high, 2u);
            let c3 = subgroupBroadcast(high, 3u);
            query0.c += products(q0, c0, c1, c2, c3);
            query1.c += products(q1, c0, c1, c2, c3);
            query2.c += products(q2, c0, c1, c2, c3);
            query3.c += products(q3, c0, c1, c2, c3);
            let d0 = subgroupBroadcast(high, 4u);
            let d1 = subgroupBroadcast(high, 5u);
            let d2 = subgroupBroadcast(high, 6u);
            let d3 = subgroupBroadcast(high, 7u);
            query0.d += products(q0, d0, d1, d2, d3);
            query1.d += products(q1, d0, d1, d2, d3);
            query2.d += products(q2, d0, d1, d2, d3);
            query3.d += products(q3, d0, d1, d2, d3);
        }
        weigh(&query0, key, n_keys);
        weigh(&query1, key, n_keys);
        weigh(&query2, key, n_keys);
        weigh(&query3, key, n_keys);
        for (var i = 0u; i < n_parts; i += 1u) {
            let low = v[v_start + low_row * v_step + i];
            let high = v[v_start + high_row * v_step + i];
            var sums0 = vec4<f32>();
            var sums1 = vec4<f32>();
            var sums2 = vec4<f32>();
            var sums3 = vec4<f32>();
            let a0 = subgroupBroadcast(low, 0u);
            let a1 = subgroupBroadcast(low, 1u);
            let a2 = subgroupBroadcast(low, 2u);
            let a3 = subgroupBroadcast(low, 3u);
            sums0 += query0.a.x * a0 + query0.a.y * a1 + query0.a.z * a2 + query0.a.w * a3;
            sums1 += query1.a.x * a0 + query1.a.y * a1 + query1.a.z * a2 + query1.a.w * a3;
            sums2 += query2.a.x * a0 + query2.a.y * a1 + query2.a.z * a2 + query2.a.w * a3;
            sums3 += query3.a.x * a0 + query3.a.y * a1 + query3.a.z * a2 + query3.a.w * a3;
            let b0 = subgroupBroadcast(low, 4u);
            let b1 = subgroupBroadcast(low, 5u);
            let b2 = subgroupBroadcast(low, 6u);
            let b3 = subgroupBroadcast(low, 7u);
            sums0 += query0.b.x * b0 + query0.b.y * b1 + query0.b.z * b2 + query0.b.w * b3;
            sums1 += query1.b.x * b0 + query1.b.y * b1 + query1.b.z * b2 + query1.b.w * b3;
            sums2 += query2.b.x * b0 + query2.b.y * b1 + query2.b.z * b2 + query2.b.w * b3;
            sums3 += query3.b.x * b0 + query3.b.y * b1 + query3.b.z * b2 + query3.b.w * b3;
            let c0 = subgroupBroadcast(high, 0u);
            let c1 = subgroupBroadcast(high, 1u);
            let c2 = subgroupBroadcast(high, 2u);
            let c3 = subgroupBroadcast(high, 3u);
            sums0 += query0.c.x * c0 + query0.c.y * c1 + query0.c.z * c2 + query0.c.w * c3;
            sums1 += query1.c.x * c0 + query1.c.y * c1 + query1.c.z * c2 + query1.c.w * c3;
            sums2 += query2.c.x * c0 + query2.c.y * c1 + query2.c.z * c2 + query2.c.w * c3;
            sums3 += query3.c.x * c0 + query3.c.y * c1 + query3.c.z * c2 + query3.c.w * c3;
            let d0 = subgroupBroadcast(high, 4u);
            let d1 = subgroupBroadcast(high, 5u);
            let d2 = subgroupBroadcast(high, 6u);
            let d3 = subgroupBroadcast(high, 7u);
            sums0 += query0.d.x * d0 + query0.d.y * d1 + query0.d.z * d2 + query0.d.w * d3;
            sums1 += query1.d.x * d0 + query1.d.y * d1 + query1.d.z * d2 + query1.d.w * d3;
            sums2 += query2.d.x * d0 + query2.d.y * d1 + query2.d.z * d2 + query2.d.w * d3;
            sums3 += query3.d.x * d0 + query3.d.y * d1 + query3.d.z * d2 + query3.d.w * d3;
            if first + 0u < tile.y {
                add(out0_start + i, key, query0.shrink, sums0);
            }
            if first + 1u < tile.y {
                add(out1_start + i, key, query1.shrink, sums1);
            }
            if first + 2u < tile.y {
                add(out2_start + i, key, query2.shrink, sums2);
            }
            if first + 3u < tile.y {
                add(out3_start + i, key, query3.shrink, sums3);
            }
        }
    }
}
