//! The whole model on the CPU backend.

mod reference;
mod support {
    pub mod checkpoint;
    pub mod forward;
    pub mod goldens;
}

use scdiva::cpu::Cpu;
use support::forward;

#[test]
fn agrees_with_the_goldens() {
    forward::agrees_with_the_goldens(Cpu::new());
}

#[test]
fn agrees_with_the_reference_on_a_mixed_batch() {
    forward::agrees_with_the_reference_on_a_mixed_batch(Cpu::new());
}

#[test]
fn the_embedding_alone_is_the_same() {
    forward::the_embedding_alone_is_the_same(Cpu::new());
}

#[test]
fn the_company_of_a_cell_does_not_matter() {
    forward::the_company_of_a_cell_does_not_matter(Cpu::new());
}

#[test]
fn padding_does_not_matter() {
    forward::padding_does_not_matter(Cpu::new());
}

#[test]
fn stored_halves_are_taken_as_they_are() {
    forward::stored_halves_are_taken_as_they_are(Cpu::new());
}
