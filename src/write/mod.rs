//! Writers: one file a format. They take any [`std::io::Write`].

pub mod csv;
pub mod npy;
pub mod safetensors;
