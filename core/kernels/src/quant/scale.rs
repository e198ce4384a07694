//! How blocks store their scales.

use crate::simd::Simd;
use bytemuck::{Pod, Zeroable};
use half::f16;

/// A stored scale, of alignment 1.
pub trait Scale: Pod {
    /// The value, exactly.
    fn to_f32(self) -> f32;
    /// The values of sixteen, gathered one by one.
    fn lanes<S: Simd>(s: S, scales: [Self; 16]) -> S::Lanes;
    /// The values of sixteen that lie one after the other.
    #[inline(always)]
    fn load<S: Simd>(s: S, scales: &[Self; 16]) -> S::Lanes {
        Self::lanes(s, *scales)
    }
}

/// An f16 as stored: two bytes, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Half([u8; 2]);

impl Half {
    /// +0.0
    pub const ZERO: Self = Half([0; 2]);

    /// The 16 bits.
    #[inline(always)]
    fn bits(self) -> u16 {
        u16::from_le_bytes(self.0)
    }

    /// With the other sign.
    #[inline(always)]
    pub fn negated(self) -> Self {
        Half((self.bits() ^ 0x8000).to_le_bytes())
    }
}

impl Scale for Half {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::from_bits(self.bits()).to_f32_const()
    }

    #[inline(always)]
    fn lanes<S: Simd>(s: S, scales: [Self; 16]) -> S::Lanes {
        let mut bits = [0; 16];
        for r in 0..16 {
            bits[r] = scales[r].bits();
        }
        s.lanes_of_f16(bits)
    }

    #[inline(always)]
    fn load<S: Simd>(s: S, scales: &[Self; 16]) -> S::Lanes {
        s.load_f16_le(bytemuck::cast_ref(scales))
    }
}

/// The exponent of a power of two: `2^(e - 128)`, half of what the OCP microscaling formats mean by it, since ggml doubles the weights
/// that it scales. All 256 are finite: where OCP has a NaN (255), this is 2^127, as in gguf-py.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(transparent)]
pub struct E8M0(u8);

impl Scale for E8M0 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        let e = u32::from(self.0);
        // The two smallest are denormal: a bit of the mantissa.
        f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 })
    }

    #[inline(always)]
    fn lanes<S: Simd>(s: S, scales: [Self; 16]) -> S::Lanes {
        let mut values = [0.0; 16];
        for r in 0..16 {
            values[r] = scales[r].to_f32();
        }
        s.load(&values)
    }
}
