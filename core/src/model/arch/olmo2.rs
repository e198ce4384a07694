use super::{Arch, Arrangement, BASE, LocalRope, NormedTogether, Window};

/// OLMo 2 and 3: norms stand behind the parts only, and q and k are normed as whole rows. In OLMo 3 three of four layers see a window, and
/// YaRN stretches the others alone.
pub const OLMO2: Arch = Arch {
    name: "olmo2",
    family: "OLMo 2",
    qk_norm: NormedTogether::Row,
    norms: Arrangement::After,
    rope_base: Some(10_000.0),
    local_rope: LocalRope::Unstretched,
    window: Window::FoundAllBut(4),
    ..BASE
};
