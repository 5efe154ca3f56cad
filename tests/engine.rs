//! A model on a device, as the command and the page use it.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use scdiva::model::Want;
use scdiva::model::self_test::{ANSWER, Tokens, files};
use scdiva::tasks::{FindNeighbours, OnCpu};
use scdiva::{DeviceChoice, ScDiVa};
use std::ops::ControlFlow;

fn run(scdiva: &mut ScDiVa) -> Vec<f32> {
    let tokens = Tokens::new();
    pollster::block_on(scdiva.forward(&tokens.cells(), Want::default()))
        .unwrap()
        .latent
}

fn open(device: DeviceChoice) -> ScDiVa {
    pollster::block_on(ScDiVa::open(files().unwrap(), device)).unwrap()
}

#[test]
fn a_lost_device_is_opened_again_and_the_run_goes_on() {
    let mut scdiva = open(DeviceChoice::Gpu);
    let before = run(&mut scdiva);
    assert!(before.iter().zip(ANSWER).all(|(a, b)| (a - b).abs() < 1e-3));
    scdiva.lose_device();
    assert_eq!(run(&mut scdiva), before);
}

/// Few enough for an adapter that computes on the CPU, then too many; and a device that is gone.
#[test]
fn neighbours_are_found_where_the_model_is_and_are_the_same_everywhere() {
    let (n_cols, mut quietly) = (8, |_| ControlFlow::Continue(()));
    let mut scdiva = open(DeviceChoice::Gpu);
    let is_software = scdiva.info().device.gpu.unwrap().software;
    for (n_cells, is_gone) in [(1_000, false), (2_100, false), (900, true)] {
        let values: Vec<f32> = (0..n_cells * n_cols)
            .map(|i| ((i * i + 7 * i) % 1013) as f32 / 1013.0)
            .collect();
        let n_dispatches = scdiva.counters().unwrap().n_dispatches;
        if is_gone {
            scdiva.lose_device();
        }
        let found = pollster::block_on(scdiva.find_neighbours(&values, n_cols, &[3], &mut quietly)).unwrap();
        let wanted = pollster::block_on(OnCpu.find_neighbours(&values, n_cols, &[3], &mut quietly)).unwrap();
        assert_eq!(found.distances, wanted.distances, "{n_cells}");
        let is_on_gpu = scdiva.counters().unwrap().n_dispatches > n_dispatches;
        assert_eq!(is_on_gpu, !is_gone && (n_cells <= 2_000 || !is_software), "{n_cells}");
    }
    assert!(open(DeviceChoice::Cpu).counters().is_none());
}

#[test]
fn gpu_means_gpu_even_in_software() {
    assert_eq!(open(DeviceChoice::Gpu).info().device.kind, "gpu");
}

#[test]
fn automatic_choice_passes_a_software_adapter_over_and_says_so() {
    let device = open(DeviceChoice::Auto).info().device;
    // On a machine with a real GPU the choice is that; tests run where there is none.
    if device.kind == "cpu" {
        assert!(
            device.reason.is_some_and(|reason| reason.contains("software adapters")),
            "no reason given"
        );
    } else {
        assert!(!device.gpu.unwrap().software && device.reason.is_none());
    }
}
