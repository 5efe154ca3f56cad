// Squares of 8 by 8 for matrix units: factors in f16, sums in f32; subgroups of 8 threads.

enable f16;
enable wgpu_cooperative_matrix;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const SIDE = 8u;
const LANES = 8u;
const K_SQUARES = 4u; // in 32 k
const LOADS = 8u; // of a thread and factor, in linear_matrix
const HEAD_SQUARES = 8u; // in the 64 columns of a head
const ROW_LANES = 1u; // threads of a row of a square
const LANE_STEPS = 0u; // to go through them, doubling
const ROW_FOURS = 8u; // of such a thread, in 32 columns
const KEY_LOADS = 16u; // of a thread, in attention_matrix
