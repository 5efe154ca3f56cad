// Squares of 16 by 16 for matrix units: factors in f16, sums in f32.

enable f16;
enable wgpu_cooperative_matrix;

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
const SIDE = 16u;
