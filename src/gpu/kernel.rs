//! What the host knows of a kernel; `tests/shaders.rs` compares it with the WGSL.

/// How a kernel uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// What a kernel needs beyond WebGPU's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Subgroup operations.
    Subgroups,
    /// Arithmetic in f16.
    F16,
    /// Matrix units: wgpu's experimental cooperative matrices.
    Matrix,
    /// So many bytes of workgroup memory; every device has 16 KiB.
    WorkgroupMemory(u32),
}

/// One kernel: a WGSL file of `shaders/`, whose stem is also its entry point, and what it shares with others from `shaders/parts/`.
#[derive(Debug)]
pub struct Kernel {
    /// Stem of the file and entry point; what follows a dot tells apart what one file is composed to.
    pub name: &'static str,
    /// The text: the file, and the parts that it shares with others. Lines between `#repeat NAME N` and `#end` stand for N copies of them, in which
    /// `$NAME` is 0, 1, …; N is a number or a constant of the text. Compilers unroll less than they could.
    pub source: &'static [&'static str],
    /// A device without these must not be given it.
    pub needs: &'static [Feature],
    /// Storage buffers in the order of their bindings, from binding 1 on; binding 0 is the parameters.
    pub buffers: &'static [(&'static str, Access)],
    /// Members of `Params` in order; each is a u32 or an f32.
    pub params: &'static [&'static str],
    /// Names of the `override` constants.
    pub overrides: &'static [&'static str],
}

impl Kernel {
    /// The whole text, as WGSL.
    #[must_use]
    pub fn source(&self) -> String {
        let text = self.source.join("\n");
        let mut out = String::with_capacity(4 * text.len());
        repeat(&text, &text, &mut out);
        out
    }

    /// The entry point.
    #[must_use]
    pub fn entry_point(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }
}

/// Defines a kernel's `Params` with the list of its members, so that the two cannot differ.
macro_rules! params {
    ($($member:ident: $kind:ty),+ $(,)?) => {
        #[repr(C)]
        #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct Params {
            $(pub(crate) $member: $kind,)+
        }

        impl Params {
            const MEMBERS: &'static [&'static str] = &[$(stringify!($member)),+];
        }
    };
}
pub(super) use params;

/// A file of `shaders/`, without comments and indentation: a browser would have to download them.
macro_rules! wgsl {
    ($file:expr) => {{
        const WITH_COMMENTS: &str = include_str!(concat!("../../../shaders/", $file));
        const LEN: usize = $crate::gpu::kernel::stripped::<0>(WITH_COMMENTS).1;
        const BYTES: [u8; LEN] = $crate::gpu::kernel::stripped::<LEN>(WITH_COMMENTS).0;
        match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => "",
        }
    }};
}
pub(super) use wgsl;

/// The first N bytes of a WGSL text without comments and indentation, and how many there are in all.
pub(super) const fn stripped<const N: usize>(text: &str) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let (mut kept, mut n) = ([0; N], 0);
    let (mut at, mut starts_line) = (0, true);
    while at < text.len() {
        let byte = text[at];
        if byte == b'/' && at + 1 < text.len() && text[at + 1] == b'/' {
            while at < text.len() && text[at] != b'\n' {
                at += 1;
            }
            continue;
        }
        at += 1;
        if starts_line && (byte == b' ' || byte == b'\n') {
            continue;
        }
        if n < N {
            kept[n] = byte;
        }
        n += 1;
        starts_line = byte == b'\n';
    }
    (kept, n)
}

/// Appends `lines` with their `#repeat` written out; constants are those of `text`.
fn repeat(lines: &str, text: &str, out: &mut String) {
    let mut lines = lines.lines();
    while let Some(line) = lines.next() {
        let Some((name, n)) = line.strip_prefix("#repeat ").and_then(|rest| rest.split_once(' ')) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let number = |text: &str| text.split_once('u').map_or(text, |(number, _)| number).parse().ok();
        let constant = || number(text.split_once(&format!("const {n} = "))?.1);
        let n: usize = number(n).or_else(constant).unwrap_or_else(|| {
            // No WGSL: the shader does not compile.
            out.push_str(line);
            0
        });
        let mut depth = 1;
        let mut body = String::new();
        for line in lines.by_ref() {
            depth += usize::from(line.starts_with("#repeat "));
            depth -= usize::from(line == "#end");
            if depth == 0 {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        for i in 0..n {
            repeat(&body.replace(&format!("${name}"), &i.to_string()), text, out);
        }
    }
}

/// A size as the u32 that shaders count in, at most 2^31. Sizes are bounded by buffer limits, far below.
pub(super) fn count(n: usize) -> u32 {
    const MOST: u32 = 1 << 31;
    u32::try_from(n).unwrap_or(MOST).min(MOST)
}

/// Workgroups for `n` pieces of work in one line, folded over x and y when there are more than one dimension takes.
pub(super) fn folded(n: usize) -> [u32; 3] {
    const MOST: usize = 65_535;
    let y = n.div_ceil(MOST).max(1);
    [count(n.div_ceil(y)).max(1), count(y), 1]
}

/// Workgroups of 256 threads for one thread an element.
pub(super) fn elements(n: usize) -> [u32; 3] {
    folded(n.div_ceil(256))
}

#[cfg(test)]
mod tests {
    use super::{folded, repeat, stripped};

    #[test]
    fn comments_and_indentation_go_and_nothing_else() {
        const TEXT: &str = "// a\n\nfn f() { // b\n    return 1 / 2;\n}\n";
        let (kept, n) = stripped::<64>(TEXT);
        assert_eq!(&kept[..n], b"fn f() { \nreturn 1 / 2;\n}\n");
        assert_eq!(stripped::<0>(TEXT).1, n);
    }

    #[test]
    fn lines_are_repeated_within_lines_that_are() {
        let text = "const N = 2u;\n#repeat i N\na$i\n#repeat k 3\nb$i_$k\n#end\n#end\nc\n#repeat k 0\nd\n#end\n";
        let mut out = String::new();
        repeat(text, text, &mut out);
        assert_eq!(out, "const N = 2u;\na0\nb0_0\nb0_1\nb0_2\na1\nb1_0\nb1_1\nb1_2\nc\n");
        // A count that is not there does not go unnoticed: this is no WGSL.
        out.clear();
        repeat("#repeat i M\na$i\n#end\n", text, &mut out);
        assert!(out.contains("#repeat i M"), "{out}");
    }

    #[test]
    fn folding_covers_everything_within_the_limit() {
        for n in [1, 65_535, 65_536, 200_000, 10_000_000] {
            let [x, y, z] = folded(n).map(|n| n as usize);
            assert!(x * y * z >= n && x <= 65_535 && y <= 65_535, "{n}: {x} {y} {z}");
        }
    }
}
