// Tiles of linear_matrix for few rows: 4 by 4 squares.

const N_SUBGROUPS = 4u;
const ACROSS = 2u; // subgroups side by side
const ROW_SQUARES = 2u; // of a subgroup
const COL_SQUARES = 2u;
