//! Scalar functions, defined by `docs/numerics.md`, "Functions": one sequence of single-rounded operations that every
//! SIMD backend repeats lane by lane, so that all of them give the same bits.

/// `e^x` in f32, within 2 ulp for `-87 <= x <= 88`; 0 below -87, `exp(88)` above 88. `exp(0) == 1` exactly.
///
/// `x` must not be NaN (the contract makes non-finite activations an error before they get here); infinities are
/// clamped like any other value. Source: Cephes' `expf`, without its fused or table variants.
#[inline]
pub fn exp(x: f32) -> f32 {
    // The smaller of the two, compared as integers, whose order is theirs where one is positive: for a minimum of floats LLVM may take
    // WebAssembly's relaxed one. A NaN stays one, so that the next check finds it.
    let smaller = f32::from_bits((x.to_bits() as i32).min(EXP_HIGHEST.to_bits() as i32) as u32);
    let in_range = if x.is_nan() { x } else { smaller };
    // Adding 1.5 * 2^23 leaves no bits for a fraction: the sum is rounded to an integer, ties to even.
    let rounded = in_range * LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = (in_range - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = EXP_POLY[0];
    for c in &EXP_POLY[1..] {
        p = p * r + c;
    }
    let result = ((p * (r * r) + r) + 1.0) * power_of_two(rounded);
    // A choice at the end and not a way out at the start: loops over this function become vectors.
    if x < EXP_LOWEST { 0.0 } else { result }
}

/// `g / (1 + e^-g)`, the activation of a gated unit (SwiGLU is `silu(gate) * up`).
///
/// Below -88 the divisor stays at `1 + exp(88)`, so the result is a tiny negative number instead of a rounded zero.
#[inline]
pub fn silu(g: f32) -> f32 {
    g / (1.0 + exp(-g))
}

/// `x / (1 + e^-2y)` with `y = sqrt(2/pi) * (x + 0.044715 x³)`: GELU in its tanh form (Hendrycks and Gimpel, 2016), since
/// `(1 + tanh(y)) / 2 = 1 / (1 + e^-2y)`.
#[inline]
pub fn gelu(x: f32) -> f32 {
    x / (1.0 + exp((x * -GELU_SLOPE) * (1.0 + (GELU_CUBE * x) * x)))
}

/// `cap * tanh(x / cap)`, with `tanh(y) = 1 - 2 / (e^2y + 1)`: within 1e-6 of `cap`.
#[inline]
pub fn soft_cap(x: f32, cap: f32) -> f32 {
    let y = x / cap;
    cap * (1.0 - 2.0 / (exp(y + y) + 1.0))
}

/// Square root, correctly rounded (`core` has none without std).
#[inline]
pub fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}

/// Below this `exp` is 0: the smallest results stay normal numbers.
pub const EXP_LOWEST: f32 = -87.0;
/// Above this the argument of `exp` is replaced by it: 2^n stays finite.
pub const EXP_HIGHEST: f32 = 88.0;
/// log2(e).
pub const LOG2_E: f32 = f32::from_bits(0x3FB8_AA3B);
/// 2 sqrt(2 / pi).
pub const GELU_SLOPE: f32 = f32::from_bits(0x3FCC_422A);
/// 0.044715.
pub const GELU_CUBE: f32 = f32::from_bits(0x3D37_2713);
/// 1.5 * 2^23: see [`exp`].
pub const ROUNDER: f32 = 12_582_912.0;
/// ln 2 to 9 bits, so that its product with an integer below 2^8 is exact.
pub const LN2_HIGH: f32 = f32::from_bits(0x3F31_8000);
/// ln 2 minus [`LN2_HIGH`].
pub const LN2_LOW: f32 = f32::from_bits(0xB95E_8083);
/// `(e^r - 1 - r) / r^2` on |r| <= ln 2 / 2, highest power first.
pub const EXP_POLY: [f32; 6] = [
    f32::from_bits(0x3950_6967),
    f32::from_bits(0x3AB7_43CE),
    f32::from_bits(0x3C08_8908),
    f32::from_bits(0x3D2A_A9C1),
    f32::from_bits(0x3E2A_AAAA),
    f32::from_bits(0x3F00_0000),
];

/// 2^n for -126 <= n <= 127, from `rounded = n + 1.5 * 2^23`: the low bits of that number are n in two's complement, and
/// the shift brings them on top of the exponent of 1. (A conversion to an integer would be several instructions.)
#[inline]
fn power_of_two(rounded: f32) -> f32 {
    f32::from_bits((rounded.to_bits() << 23).wrapping_add(1f32.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance from the true value in units of the last place of the true value rounded to f32.
    fn ulps(got: f32, truth: f64) -> f64 {
        let near = truth as f32;
        let ulp = f64::from(f32::from_bits(near.to_bits() + 1)) - f64::from(near);
        (f64::from(got) - truth).abs() / ulp
    }

    #[test]
    fn exp_is_within_two_ulps_of_libm() {
        let mut worst = (0.0, 0.0);
        for i in 0..=1_750_000 {
            let x = -87.0 + i as f32 * 1e-4;
            if x <= 88.0 {
                let error = ulps(exp(x), libm::exp(f64::from(x)));
                worst = if error > worst.0 { (error, x) } else { worst };
            }
        }
        assert!(worst.0 < 2.0, "{} ulp at {}", worst.0, worst.1);
    }

    #[test]
    fn exp_near_zero() {
        assert_eq!(exp(0.0).to_bits(), 1f32.to_bits());
        assert_eq!(exp(-0.0).to_bits(), 1f32.to_bits());
        let mut x = 1f32;
        while x > 0.0 {
            assert!(ulps(exp(x), libm::exp(f64::from(x))) < 2.0, "{x}");
            assert!(ulps(exp(-x), libm::exp(f64::from(-x))) < 2.0, "-{x}");
            x *= 0.5; // down to the denormals
        }
        assert_eq!(exp(f32::from_bits(1)), 1.0);
    }

    #[test]
    fn exp_at_its_bounds() {
        assert_eq!(exp(-87.000_01), 0.0);
        assert_eq!(exp(f32::MIN), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(-87.0).is_normal());
        assert!(exp(88.0).is_finite());
        assert_eq!(exp(88.000_01), exp(88.0));
        assert_eq!(exp(f32::MAX), exp(88.0));
        assert_eq!(exp(f32::INFINITY), exp(88.0));
        assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
    }

    #[test]
    fn constants_are_the_numbers_they_stand_for() {
        assert_eq!(LOG2_E, core::f32::consts::LOG2_E);
        assert!((f64::from(LN2_HIGH) + f64::from(LN2_LOW) - core::f64::consts::LN_2).abs() < 1e-11);
        // LN2_HIGH has at most 9 significant bits, and n at most 8: the product fits the 24 of an f32.
        assert_eq!(LN2_HIGH.to_bits() & ((1 << 15) - 1), 0);
        // Cephes' fit is close to the Taylor series 1/2!, 1/3!, ...
        for (c, factorial) in EXP_POLY.iter().rev().zip([2.0, 6.0, 24.0, 120.0, 720.0, 5040.0]) {
            assert!((c * factorial - 1.0).abs() < 0.01, "{c}");
        }
    }

    #[test]
    fn powers_of_two() {
        for n in -126..=127 {
            assert_eq!(f64::from(power_of_two(n as f32 + ROUNDER)), libm::exp2(f64::from(n)));
        }
    }

    #[test]
    fn gelu_against_libm() {
        assert!((f64::from(GELU_SLOPE) - 2.0 * (2.0 / core::f64::consts::PI).sqrt()).abs() < 1e-7);
        assert!((f64::from(GELU_CUBE) - 0.044715).abs() < 2e-9);
        assert_eq!(gelu(0.0), 0.0);
        for i in -8_000..=8_000 {
            let x = f64::from(i as f32 * 0.01);
            let y = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let truth = 0.5 * x * (1.0 + libm::tanh(y));
            assert!(
                (f64::from(gelu(x as f32)) - truth).abs() <= x.abs().max(1.0) * 1e-6,
                "{x}: {} {truth}",
                gelu(x as f32)
            );
        }
        for x in [1e18f32, 1e30, f32::MAX] {
            assert_eq!(gelu(x), x); // x * x overflows
            assert!(gelu(-x) <= 0.0 && gelu(-x) >= -x * 1e-37);
        }
    }

    #[test]
    fn soft_cap_against_libm() {
        for cap in [30.0f32, 50.0] {
            for i in -20_000..=20_000 {
                let x = i as f32 * 0.1;
                let truth = f64::from(cap) * libm::tanh(f64::from(x) / f64::from(cap));
                assert!((f64::from(soft_cap(x, cap)) - truth).abs() <= f64::from(cap) * 1e-6, "{x}");
            }
            assert_eq!((soft_cap(f32::MAX, cap), soft_cap(f32::MIN, cap)), (cap, -cap));
            assert_eq!(soft_cap(0.0, cap), 0.0);
        }
    }

    #[test]
    fn silu_against_libm() {
        assert_eq!(silu(0.0), 0.0);
        for i in -8_000..=8_000 {
            let g = i as f32 * 0.01;
            let truth = f64::from(g) / (1.0 + libm::exp(-f64::from(g)));
            assert!((f64::from(silu(g)) - truth).abs() <= truth.abs() * 1e-6, "{g}: {} {truth}", silu(g));
        }
        assert_eq!(silu(100.0), 100.0);
        assert!(silu(f32::MAX) == f32::MAX);
        let tail = silu(-1e4);
        assert!(tail <= 0.0 && tail > -1e-30, "{tail}");
    }
}
