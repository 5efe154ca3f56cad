//! A model on a device, as the command and the page use it.

use scdiva::model::CellInput;
use scdiva::model::self_test::{ANSWER, Tokens, files};
use scdiva::model::Want;
use scdiva::{DeviceChoice, ScDiVa};

fn run(scdiva: &mut ScDiVa) -> Vec<f32> {
    let tokens = Tokens::new();
    let cells: [CellInput<'_>; 2] = tokens.cells();
    pollster::block_on(scdiva.forward(&cells, Want::default())).unwrap().latent
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
