//! What a head says about itself, and what the command makes of it.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
}

use std::fs;
use support::command::{Place, fixture};

#[test]
fn the_threshold_is_the_heads_own_unless_another_is_given() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let n_unassigned = |stdout: &str| stdout.lines().filter(|line| line.contains(",unassigned,")).count();
    // Every cell gets a label with a probability of 0.84.
    place.describe_head(&[("min_probability", "0.9")]);
    let ran = place.run(&["annotate", &input]);
    ran.assert_code(1);
    assert_eq!(n_unassigned(&ran.stdout), 11);
    for part in ["threshold: 0.9, which head `types` asks for", "11 of 12 cells are unassigned"] {
        assert!(ran.stderr.contains(part), "`{part}` is not in {}", ran.stderr);
    }
    let ran = place.run(&["annotate", &input, "--min-probability", "0"]);
    ran.assert_code(0);
    assert_eq!(n_unassigned(&ran.stdout), 0);
    assert!(!ran.stderr.contains("threshold"), "{}", ran.stderr);

    place.describe_head(&[("min_probability", "nine")]);
    place
        .run(&["annotate", &input])
        .assert_error(&["heads/types.safetensors: metadata min_probability", "nine"]);
}

#[test]
fn a_run_does_not_go_on_with_another_head() {
    let place = Place::telling();
    let input = fixture("csr_f32_gzip.h5ad");
    let output = place.text("out");
    let arguments = ["annotate", &input, "-o", &output, "--shard", "1/1"];
    place.run(&arguments).assert_code(0);
    fs::rename(&output, place.path("out.partial")).unwrap();
    place.describe_head(&[("reference", "something else")]);
    place
        .run(&[&arguments[..], &["--resume"]].concat())
        .assert_error(&["out.partial", "belongs to another run"]);
}

/// Every cell's logits are 0, 3 and 1, so its probabilities 0.042 (B), 0.844 (T, naive) and 0.114 (NK).
#[test]
fn a_tissue_is_recognised_when_hardly_anything_looks_like_another() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    place.describe_head(&[("tissues", r#"{"blood": ["T, naive", "NK"], "spleen": ["B"]}"#)]);
    let said = "Tissue: blood (recognised: 4.2 % of a probe of 11 cells looked like other tissue); --tissue any lifts it";
    let ran = place.run(&["annotate", &input]);
    ran.assert_code(0);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    // 1 / (1 + e⁻²) and the rest; no entropy of a third label.
    let of_blood = |text: &str| text.contains("cell-00,\"T, naive\",0.88079") && text.contains(",NK,0.1192");
    assert!(of_blood(&ran.stdout), "{}", ran.stdout);
    let named = place.run(&["annotate", &input, "--tissue", "blood", "--all-columns"]);
    assert!(of_blood(&named.assert_code(0).stdout) && named.stderr.contains("Tissue: blood (as was asked)"));
    let entropy: f64 = named
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .rsplit(',')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!((entropy - 0.365_333).abs() < 1e-5, "{entropy}");
    for arguments in [&["--tissue", "spleen"][..], &["--tissue", "any"]] {
        let ran = place.run(&[&["annotate", &input][..], arguments].concat());
        let wanted = if arguments[1] == "spleen" {
            "cell-00,B,1,"
        } else {
            "cell-00,\"T, naive\",0.84379"
        };
        assert!(ran.assert_code(0).stdout.contains(wanted), "{}", ran.stdout);
    }
    place
        .run(&["annotate", &input, "--tissue", "lung"])
        .assert_error(&["tissue: \"lung\", wanted auto, any or one of blood, spleen"]);

    // What is easily confused with the tissue's own labels says nothing against it.
    let tissues = ("tissues", r#"{"blood": ["B", "T, naive"]}"#);
    place.describe_head(&[tissues]);
    let ran = place.run(&["annotate", &input]);
    let said = "Tissue: any (none recognised: blood is nearest, but 11.4 % of a probe of 11 cells looked like other tissue)";
    assert!(ran.assert_code(0).stderr.contains(said), "{}", ran.stderr);
    place.describe_head(&[tissues, ("tissue_ambiguous", r#"{"blood": ["NK"]}"#)]);
    let ran = place.run(&["annotate", &input]);
    assert!(
        ran.assert_code(0).stderr.contains("Tissue: blood (recognised: 0.0 %"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_head_without_tissues_says_nothing_of_them_and_takes_none() {
    let place = Place::new();
    let input = fixture("csr_f32_gzip.h5ad");
    let ran = place.run(&["annotate", &input]);
    assert!(!ran.assert_code(0).stderr.contains("Tissue"), "{}", ran.stderr);
    place.run(&["annotate", &input, "--tissue", "any"]).assert_code(0);
    place
        .run(&["annotate", &input, "--tissue", "blood"])
        .assert_error(&["tissue: \"blood\", but head \"types\" tells no tissues apart"]);
}

#[test]
fn parts_agree_on_the_tissue_and_a_run_keeps_it() {
    let place = Place::telling();
    place.describe_head(&[
        ("tissues", r#"{"blood": ["T, naive", "NK"]}"#),
        ("tissue_ambiguous", r#"{"blood": ["B"]}"#),
    ]);
    let mut text = "cell".to_owned();
    (0..20).for_each(|gene| text.push_str(&format!(",GENE{gene}")));
    for cell in 0..900_usize {
        text.push_str(&format!("\ncell_{cell}"));
        (0..20).for_each(|gene| text.push_str(&format!(",{}", (cell * 31 + gene * 17) % 7)));
    }
    fs::write(place.path("in.csv"), text).unwrap();
    let input = place.text("in.csv");
    place
        .run(&["annotate", &input, "-o", &place.text("whole.csv")])
        .assert_code(0);
    let whole = fs::read_to_string(place.path("whole.csv")).unwrap();
    assert!(!whole.contains(",B,"), "a label of another tissue was given");
    let parts = ["1/3", "2/3", "3/3"].map(|shard| {
        let part = place.text(&format!("part_{}", &shard[..1]));
        let ran = place.run(&["annotate", &input, "-o", &part, "--shard", shard]);
        assert!(ran.assert_code(0).stderr.contains("a probe of 512 cells"), "{}", ran.stderr);
        part
    });
    let output = place.text("out.csv");
    place
        .run(&["merge", &parts[0], &parts[1], &parts[2], "-o", &output])
        .assert_code(0);
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
    let other = place.text("other");
    place
        .run(&["annotate", &input, "-o", &other, "--shard", "3/3", "--tissue", "any"])
        .assert_code(0);
    place
        .run(&["merge", &parts[0], &parts[1], &other, "-o", &output])
        .assert_error(&["tissue", "belongs to another run", "blood", "any"]);
}
