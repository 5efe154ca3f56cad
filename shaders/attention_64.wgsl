// out[q, h, c] = sum over keys of softmax(q . k / sqrt(head_size)) * v[key, h, c], inside one cell, in heads of up to 64 columns in fours
// Grid: x and y tiles of up to 64 queries of one cell, z = head; 16 x 8 threads, each 4 queries, by 4 keys and then by 2 times 4 columns.
//
// As attention, with twice the workgroup memory: the queries of a tile stay in it, and keys come in tiles of 32.

// Whether a head has more than 32 columns; narrow heads skip the second half of the work.
override WIDE: bool;

const TILE = 32u; // keys
const LOWEST = -3.0e38;
const LOG2_E = 1.44269504;

// Turned: for each of 64 columns the queries in fours.
var<workgroup> q_tile: array<array<array<vec4<f32>, 16>, 8>, 8>;
// The keys, turned in the same way: 8 times 4 times 2 columns, each 32 keys in fours. Then the weights: 8 times 4 keys, each 64 queries in fours.
var<workgroup> k_tile: array<array<array<array<vec4<f32>, 8>, 2>, 4>, 8>;
// The largest scores of 8 times 4 keys for 64 queries in fours; then v of 8 times 4 keys.
var<workgroup> v_tile: array<array<array<vec4<f32>, 16>, 4>, 8>;

@compute @workgroup_size(128)
fn attention_64(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let number = workgroup.x + workgroup.y * n_workgroups.x;
    if number >= params.n_tiles {
        return;
    }
    let tile = tiles[number];
    let head_col = workgroup.z * params.head_size;
    let lane = thread % 8u; // owns 4 keys of a tile, and 2 times 4 columns of v
    let query = thread / 8u; // owns 4 queries
    let part = thread % 16u; // loads 4 columns of 4 rows of k, or of q
    let group = thread / 16u;

    // The scale of the scores, and that of a power of 2.
    let scale = params.scale * LOG2_E;
#repeat half 2
    {
        let row = group * 4u + $halfu * 32u;
        let square = transpose(mat4x4<f32>(
            q_at(tile, row, head_col, part),
            q_at(tile, row + 1u, head_col, part),
            q_at(tile, row + 2u, head_col, part),
            q_at(tile, row + 3u, head_col, part),
        ));
#repeat i 4
        q_tile[part / 2u][part % 2u * 4u + $iu][group + $halfu * 8u] = square[$i] * scale;
#end
    }
#end

    var largest = vec4<f32>(LOWEST);
    var sum = vec4<f32>(); // this thread's part only; added up over the lanes at the end
#repeat i 4
    var out_a$i = vec4<f32>();
    var out_b$i = vec4<f32>();
    var v$i = v_at(tile, group + $iu * 8u, head_col, part);
    var k$i = k_at(tile, group * 4u + $iu, head_col, part);
#end
    let n_steps = (params.head_size + 7u) / 8u;
    for (var key0 = 0u; key0 < tile.w; key0 += TILE) {
        let turned = transpose(mat4x4<f32>(k0, k1, k2, k3));
        // Places change with the column, so that threads that store neighbouring columns do not meet in one bank.
        k_tile[part / 2u][part % 2u * 2u][0][group ^ (part % 8u)] = turned[0];
        k_tile[part / 2u][part % 2u * 2u][1][group ^ (part % 8u)] = turned[1];
        k_tile[part / 2u][part % 2u * 2u + 1u][0][group ^ (part % 8u)] = turned[2];
        k_tile[part / 2u][part % 2u * 2u + 1u][1][group ^ (part % 8u)] = turned[3];
        workgroupBarrier();
        // On their way while this tile is computed.
#repeat i 4
        k$i = k_at(tile, key0 + TILE + group * 4u + $iu, head_col, part);
#end

        // Scores of 4 queries (components) by 4 keys.
#repeat i 4
        var score$i = vec4<f32>();
#end
        for (var step = 0u; step < n_steps; step += 1u) {
            let low = lane ^ (step * 2u % 8u);
            let high = lane ^ ((step * 2u + 1u) % 8u);
#repeat c 4
#repeat d 2
            {
                let q_values = q_tile[step][$cu * 2u + $du][query];
                let k_values = k_tile[step][$c][$d][select(low, high, $cu > 1u)];
#repeat i 4
                score$i += q_values * k_values[$i];
#end
            }
#end
#end
        }
        let key = key0 + lane * 4u;
#repeat i 4
        score$i = select(vec4<f32>(LOWEST), score$i, key + $iu < tile.w);
#end
        v_tile[lane][0][query] = max(max(score0, score1), max(score2, score3));
        workgroupBarrier();
        var new_largest = largest;
#repeat i 8
        new_largest = max(new_largest, v_tile[$i][0][query]);
#end
        let shrink = exp2(largest - new_largest);
        largest = new_largest;
        // A key past the end has weight 2^(-3e38 - largest) = 0: key0 < n_keys, so largest is the score of a real key.
        sum *= shrink;
#repeat i 4
        let weight$i = exp2(score$i - largest);
        sum += weight$i;
        out_a$i *= shrink[$i];
        out_b$i *= shrink[$i];
        k_tile[lane][$i][query / 8u][(query % 8u) ^ lane] = weight$i;
#end
        // The maxima have been read by all before v overwrites them.
        workgroupBarrier();
#repeat i 4
        v_tile[group / 4u + $iu * 2u][group % 4u][part] = v$i;
        v$i = v_at(tile, key0 + TILE + group + $iu * 8u, head_col, part);
#end
        workgroupBarrier();
        for (var step = 0u; step < 8u; step += 1u) {
            let place = (query % 8u) ^ step;
#repeat c 4
            {
                let w = k_tile[step][$c][query / 8u][place];
                let a = v_tile[step][$c][lane];
#repeat i 4
                out_a$i += w[$i] * a;
#end
                if WIDE {
                    let b = v_tile[step][$c][lane + 8u];
#repeat i 4
                    out_b$i += w[$i] * b;
#end
                }
            }
#end
        }
        workgroupBarrier();
    }

    v_tile[lane][0][query] = sum;
    workgroupBarrier();
    var total = vec4<f32>();
#repeat i 8
    total += v_tile[$i][0][query];
#end
    let to = ((tile.x + query * 4u) * params.out_n_cols + params.out_first_col + head_col) / 4u + lane;
#repeat i 4
    if query * 4u + $iu < tile.y {
        if lane * 4u < params.head_size {
            out[to + $iu * (params.out_n_cols / 4u)] = out_a$i / total[$i];
        }
        if WIDE && lane * 4u + 32u < params.head_size {
            out[to + $iu * (params.out_n_cols / 4u) + 8u] = out_b$i / total[$i];
        }
    }
#end
}
