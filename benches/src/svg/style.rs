//! Colours with a contrast of at least 3:1 on light and dark backgrounds. Lines also differ in
//! their marks and dashes, so that colours need not be told apart.

/// The number of different looks of lines.
pub(super) const LOOKS: usize = COLOURS.len();

/// The colours of lines on light and on dark backgrounds.
const COLOURS: [[&str; 2]; 12] = [
    ["#0067a5", "#4aa8f0"],
    ["#c44e00", "#ff9154"],
    ["#007d5c", "#3fcf9f"],
    ["#9c3f87", "#e39bd0"],
    ["#8a6d00", "#e0c040"],
    ["#b3261e", "#ff8f87"],
    ["#5b3fb5", "#a895ff"],
    ["#0b7f95", "#4fd1e6"],
    ["#7a4a1e", "#d2a679"],
    ["#59636e", "#b0b8c0"],
    ["#d1267d", "#ff6fae"],
    ["#4c7a00", "#a6d43b"],
];

/// Dashes of lines with an even and an odd number, in the first half and in the second half of the
/// looks. The two lines with the same mark have different dashes.
const DASHES: [[&str; 2]; 2] = [["none", "7 3"], ["2 3", "10 3 2 3"]];

const LIGHT: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif }
text { fill: #1f2328 }
.heading { font-size: 16px; font-weight: 600 }
.soft { fill: #59636e }
.middle { text-anchor: middle }
.end { text-anchor: end }
.ours { font-weight: 700 }
.ground { fill: #ffffff }
.grid { stroke: #d8dee4 }
.axis { stroke: #818b98 }
.leader { stroke: #818b98; stroke-dasharray: 1 3 }
.target { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 5 4 }
.bar { fill: #9aa4b0 }
.bar.first { fill: #0067a5 }
polyline { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round }
polyline.l0 { stroke-width: 3.5 }
.mark { fill: currentColor; stroke: #ffffff; stroke-width: 1.5 }
";

const DARK: &str = "\
text { fill: #e6edf3 }
.soft { fill: #9198a1 }
.ground { fill: #0d1117 }
.grid { stroke: #262c36 }
.axis { stroke: #656c76 }
.leader { stroke: #656c76 }
.target { stroke: #e6edf3 }
.bar { fill: #59636e }
.bar.first { fill: #4aa8f0 }
.mark { stroke: #0d1117 }
";

pub(super) fn css() -> String {
    let colours = |ground: usize| -> String {
        let colours = COLOURS.iter().enumerate();
        colours.map(|(look, pair)| format!(".l{look} {{ color: {} }}\n", pair[ground])).collect()
    };
    let dash = |look: usize| {
        let dash = DASHES[look * 2 / LOOKS][look % 2];
        format!(".d{look} {{ stroke-dasharray: {dash} }}\n")
    };
    let dashes: String = (0..LOOKS).map(dash).collect();
    let (light, dark) = (colours(0), colours(1));
    format!("\n{LIGHT}{light}{dashes}@media (prefers-color-scheme: dark) {{\n{DARK}{dark}}}\n")
}
