// Squares of 8 by 8 for matrix units: factors in f16, sums in f32.

enable f16;
enable wgpu_cooperative_matrix;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const SIDE = 8u;
