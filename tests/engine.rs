//! A model on a device, as the command and the page use it.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use scdiva::model::Want;
use scdiva::model::self_test::{ANSWER, Tokens, files};
use scdiva::{DeviceChoice, ScDiVa};

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
