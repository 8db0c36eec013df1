//! The colours: apart for those who see red and green alike, and at least three times as light or dark as the ground.

/// How many looks of lines there are.
pub(super) const LOOKS: usize = 8;

pub(super) const CSS: &str = "
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif; fill: #1f2328 }
.heading { font-size: 16px; font-weight: 600 }
.soft { fill: #59636e }
.middle { text-anchor: middle }
.end { text-anchor: end }
.ours { font-weight: 700 }
.ground { fill: #ffffff }
.value { stroke: #ffffff; stroke-width: 4; paint-order: stroke }
.grid { stroke: #d8dee4 }
.axis { stroke: #818b98 }
.leader { stroke: #818b98; stroke-dasharray: 1 3 }
.target { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 5 4 }
.bar { fill: #9aa4b0 }
.bar.first { fill: #0067a5 }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
polyline.l0 { stroke-width: 3.5 }
.mark { stroke-width: 1.5 }
.l0 { stroke: #0067a5 } .m0 { fill: #0067a5; stroke: #ffffff }
.l1 { stroke: #c44e00 } .m1 { fill: #c44e00; stroke: #ffffff }
.l2 { stroke: #007d5c } .m2 { fill: #007d5c; stroke: #ffffff }
.l3 { stroke: #9c3f87 } .m3 { fill: #9c3f87; stroke: #ffffff }
.l4 { stroke: #8a6d00 } .m4 { fill: #8a6d00; stroke: #ffffff }
.l5 { stroke: #59636e } .m5 { fill: #59636e; stroke: #ffffff }
.l6 { stroke: #0b7f95 } .m6 { fill: #0b7f95; stroke: #ffffff }
.l7 { stroke: #b3261e } .m7 { fill: #b3261e; stroke: #ffffff }
.l3, .l4 { stroke-dasharray: 7 3 } .l5, .l6 { stroke-dasharray: 2 3 } .l7 { stroke-dasharray: 9 3 2 3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.soft { fill: #9198a1 }
.ground { fill: #0d1117 }
.value { stroke: #0d1117 }
.grid { stroke: #262c36 }
.axis { stroke: #656c76 }
.leader { stroke: #656c76 }
.target { stroke: #e6edf3 }
.bar { fill: #59636e }
.bar.first { fill: #4aa8f0 }
.l0 { stroke: #4aa8f0 } .m0 { fill: #4aa8f0; stroke: #0d1117 }
.l1 { stroke: #ff9154 } .m1 { fill: #ff9154; stroke: #0d1117 }
.l2 { stroke: #3fcf9f } .m2 { fill: #3fcf9f; stroke: #0d1117 }
.l3 { stroke: #e39bd0 } .m3 { fill: #e39bd0; stroke: #0d1117 }
.l4 { stroke: #e0c040 } .m4 { fill: #e0c040; stroke: #0d1117 }
.l5 { stroke: #b0b8c0 } .m5 { fill: #b0b8c0; stroke: #0d1117 }
.l6 { stroke: #4fd1e6 } .m6 { fill: #4fd1e6; stroke: #0d1117 }
.l7 { stroke: #ff8f87 } .m7 { fill: #ff8f87; stroke: #0d1117 }
}
";
