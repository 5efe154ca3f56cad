//! Every shader is valid WGSL, and is what the host says it is: names, order and kinds of buffers, members of `Params`, overrides.
//! No GPU is needed.
#![expect(clippy::panic, reason = "in what the tests share a failure is a failed test")]

use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};
use scdiva::gpu::{Access, Feature, Kernel, kernels};

fn parse(source: &str) -> naga::Module {
    naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)))
}

#[test]
fn every_file_is_a_kernel() {
    let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "parts")
        .collect();
    files.sort();
    let mut kernels: Vec<String> = kernels()
        .iter()
        .map(|kernel| format!("{}.wgsl", kernel.entry_point()))
        .collect();
    kernels.sort();
    kernels.dedup();
    assert_eq!(files, kernels);
}

#[test]
fn shaders_are_valid() {
    for kernel in kernels() {
        let module = parse(&kernel.source());
        // Packing and unpacking f16 is part of WebGPU's core; naga knows devices without.
        let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        for feature in kernel.needs {
            capabilities |= match feature {
                Feature::Subgroups => Capabilities::SUBGROUP,
                Feature::F16 => Capabilities::SHADER_FLOAT16,
                Feature::Matrix => Capabilities::COOPERATIVE_MATRIX,
                Feature::WorkgroupMemory(_) => Capabilities::empty(),
            };
        }
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        if kernel.needs.contains(&Feature::Subgroups) {
            validator
                .subgroup_stages(ShaderStages::COMPUTE)
                .subgroup_operations(SubgroupOperationSet::all());
        }
        validator
            .validate(&module)
            .unwrap_or_else(|e| panic!("{}: {}", kernel.name, e.emit_to_string(&kernel.source())));
    }
}

#[test]
fn shaders_stay_within_the_default_limits_or_say_so() {
    for kernel in kernels() {
        let module = parse(&kernel.source());
        assert!(kernel.buffers.len() <= 8, "{}: more than 8 storage buffers", kernel.name);
        assert!(module.entry_points[0].workgroup_size_overrides.is_none(), "{}", kernel.name);
        let threads: u32 = module.entry_points[0].workgroup_size.iter().product();
        assert!(threads <= 256, "{}: {threads} threads", kernel.name);
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
            .sum();
        let stated = kernel.needs.iter().find_map(|feature| match feature {
            Feature::WorkgroupMemory(bytes) => Some(*bytes),
            _ => None,
        });
        match stated {
            None => assert!(shared <= 16_384, "{}: {shared} bytes of workgroup memory", kernel.name),
            Some(bytes) => assert_eq!(bytes, shared, "{}: bytes of workgroup memory", kernel.name),
        }
    }
}

/// `tests/browser/shaders.test.js` has a browser's own compiler read them, which is not naga.
#[test]
fn what_browsers_compile_is_written_down() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/shaders");
    std::fs::create_dir_all(folder).unwrap();
    let of_browsers = |kernel: &&&Kernel| {
        !kernel
            .needs
            .iter()
            .any(|need| matches!(need, Feature::Matrix | Feature::Subgroups))
    };
    let kernels = kernels();
    let listed: Vec<serde_json::Value> = kernels
        .iter()
        .filter(of_browsers)
        .map(|kernel| {
            serde_json::json!({
                "name": kernel.name,
                "entryPoint": kernel.entry_point(),
                "source": kernel.source(),
                "overrides": kernel.overrides,
            })
        })
        .collect();
    assert!(listed.len() > 20, "{}", listed.len());
    std::fs::write(format!("{folder}/shaders.json"), serde_json::to_vec(&listed).unwrap()).unwrap();
}

#[test]
fn the_first_line_is_a_formula_and_the_grid_is_told() {
    for kernel in kernels() {
        let path = format!("{}/shaders/{}.wgsl", env!("CARGO_MANIFEST_DIR"), kernel.entry_point());
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("// ") && text.contains("\n// Grid: "), "{}", kernel.name);
    }
}

#[test]
fn hosts_describe_what_shaders_declare() {
    for kernel in kernels() {
        let module = parse(&kernel.source());
        let name = kernel.name;
        assert_eq!(module.entry_points.len(), 1, "{name}");
        assert_eq!(module.entry_points[0].name, kernel.entry_point());

        let mut bindings: Vec<(u32, String, Option<Access>)> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let binding = variable.binding?;
                assert_eq!(binding.group, 0, "{name}");
                let access = match variable.space {
                    AddressSpace::Uniform => None,
                    AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Some(Access::ReadWrite),
                    AddressSpace::Storage { .. } => Some(Access::Read),
                    other => panic!("{name}: {other:?}"),
                };
                Some((binding.binding, variable.name.clone().unwrap(), access))
            })
            .collect();
        bindings.sort_by_key(|(binding, ..)| *binding);
        let mut described = vec![(0, "params".to_owned(), None)];
        for (binding, (buffer, access)) in (1..).zip(kernel.buffers) {
            described.push((binding, (*buffer).to_owned(), Some(*access)));
        }
        assert_eq!(bindings, described, "{name}");

        let members = module
            .types
            .iter()
            .find_map(|(_, ty)| match &ty.inner {
                TypeInner::Struct { members, .. } if ty.name.as_deref() == Some("Params") => Some(members),
                _ => None,
            })
            .unwrap_or_else(|| panic!("{name}: no Params"));
        let declared: Vec<&str> = members.iter().map(|member| member.name.as_deref().unwrap()).collect();
        assert_eq!(declared, kernel.params, "{name}");
        for (i, member) in (0..).zip(members) {
            assert_eq!(member.offset, 4 * i, "{name}: {:?}", member.name);
            let TypeInner::Scalar(scalar) = module.types[member.ty].inner else {
                panic!("{name}: {:?} is no scalar", member.name)
            };
            assert!(matches!(scalar.kind, ScalarKind::Uint | ScalarKind::Float) && scalar.width == 4);
        }

        let mut overrides: Vec<&str> = module.overrides.iter().map(|(_, o)| o.name.as_deref().unwrap()).collect();
        overrides.sort_unstable();
        assert_eq!(overrides, kernel.overrides, "{name}");
    }
}
