//! From a count matrix to tokens.
