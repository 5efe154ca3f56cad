// Tiles of linear_matrix for many rows: 8 by 8 squares.

const N_SUBGROUPS = 8u;
const ACROSS = 4u; // subgroups side by side
const ROW_SQUARES = 4u; // of a subgroup
const COL_SQUARES = 2u;
