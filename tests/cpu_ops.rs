//! Every operation of the CPU backend against the reference.

mod reference;
mod support {
    pub mod ops;
}

use scdiva::cpu::Cpu;
use support::ops;

#[test]
fn embeddings() {
    ops::embeddings(&Cpu::new());
}

#[test]
fn row_copies() {
    ops::row_copies(&Cpu::new());
}

#[test]
fn norms() {
    ops::norms(&Cpu::new());
}

#[test]
fn linear() {
    ops::linear(&Cpu::new());
}

#[test]
fn linear_epilogues() {
    ops::linear_epilogues(&Cpu::new());
}

#[test]
fn attention() {
    ops::attention(&Cpu::new());
}

#[test]
fn attention_weights() {
    ops::attention_weights(&Cpu::new());
}

#[test]
fn refusals() {
    ops::refusals(&Cpu::new());
}
