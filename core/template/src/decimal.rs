//! Decimal numbers to floats, correctly rounded, without the tables that make `core`'s parser fast and large.

use alloc::string::String;
use alloc::vec::Vec;

/// More digits than this cannot change the result, but by not being zero.
const MAX_DIGITS: usize = 800;

/// The f64 nearest to a decimal number such as `-1.5e3`; ties to even. `None` if the text is none.
pub(super) fn parse(text: &str) -> Option<f64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?.clamp(-100_000, 100_000)),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !digits.clone().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let leading = digits.clone().take_while(|&digit| digit == b'0').count();
    let count = whole.len() + fraction.len() - leading;
    let mut digits = digits.skip(leading);
    let mut number = Big(Vec::new());
    for digit in digits.by_ref().take(MAX_DIGITS) {
        number.multiply_add(10, u32::from(digit - b'0'));
    }
    let beyond = count.saturating_sub(MAX_DIGITS);
    if digits.any(|digit| digit != b'0')
        && let Some(lowest) = number.0.first_mut()
    {
        *lowest |= 1; // the last digit's place is far below what rounding looks at
    }
    let power = i64::from(exponent) - fraction.len() as i64 + beyond as i64;
    let size = count as i64 + i64::from(exponent) - fraction.len() as i64;
    let value = match size {
        _ if number.0.is_empty() || size < -330 => 0.0,
        310.. => f64::INFINITY,
        _ => number.times_power_of_ten(power),
    };
    Some(if negative { -value } else { value })
}

/// Most digits behind the point that are written.
pub(super) const MAX_PLACES: usize = 1000;

/// A finite number that is not negative with so many digits behind the point, correctly rounded; ties to even.
pub(super) fn fixed(x: f64, places: usize) -> String {
    let (bits, exponent) = (x.to_bits(), (x.to_bits() >> 52) as i64);
    let mantissa = bits & ((1 << 52) - 1) | u64::from(exponent > 0) << 52;
    let mut number = Big(Vec::from([mantissa as u32, (mantissa >> 32) as u32]));
    (0..places).for_each(|_| number.multiply_add(10, 0));
    number.scale(exponent.max(1) - 1075);
    let mut digits = number.into_digits();
    digits.insert_str(0, &"0".repeat((places + 1).saturating_sub(digits.len())));
    if places > 0 {
        digits.insert(digits.len() - places, '.');
    }
    digits
}

/// A natural number, the lowest 32 bits first, without zeros at the end.
struct Big(Vec<u32>);

impl Big {
    fn multiply_add(&mut self, by: u32, add: u32) {
        let mut carry = u64::from(add);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(by);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: i64) {
        (0..bits % 32).for_each(|_| self.multiply_add(2, 0));
        if !self.0.is_empty() {
            self.0.splice(0..0, core::iter::repeat_n(0, (bits / 32) as usize));
        }
    }

    /// `self * 2^power`, rounded; ties to even.
    fn scale(&mut self, power: i64) {
        if power >= 0 {
            return self.shift_left(power);
        }
        // The last bit that was shifted out, and whether one before it was set.
        let (mut half, mut rest) = (0, 0);
        for _ in power..0 {
            rest |= half;
            half = 0;
            for limb in self.0.iter_mut().rev() {
                (*limb, half) = (*limb >> 1 | half << 31, *limb & 1);
            }
        }
        let odd = self.0.first().map_or(0, |limb| limb & 1);
        self.multiply_add(1, half & (rest | odd));
    }

    /// In decimal digits; none for 0.
    fn into_digits(mut self) -> String {
        let mut digits = Vec::new();
        while let Some(top) = self.0.last() {
            if *top == 0 {
                self.0.pop();
                continue;
            }
            let mut rest = 0;
            for limb in self.0.iter_mut().rev() {
                let value = u64::from(rest) << 32 | u64::from(*limb);
                *limb = (value / 10) as u32;
                rest = (value % 10) as u32;
            }
            digits.push(char::from(b'0' + rest as u8));
        }
        digits.iter().rev().collect()
    }

    fn bits(&self) -> i64 {
        self.0.last().map_or(0, |top| 32 * self.0.len() as i64 - i64::from(top.leading_zeros()))
    }

    /// Subtracts `other` if it is not larger, and says whether.
    fn subtract(&mut self, other: &Big) -> bool {
        let larger = other.0.len().cmp(&self.0.len()).then_with(|| other.0.iter().rev().cmp(self.0.iter().rev()));
        if larger.is_gt() {
            return false;
        }
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let (less, first) = limb.overflowing_sub(other.0.get(index).copied().unwrap_or(0));
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            (*limb, borrow) = (less, first || second);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        true
    }

    /// `self * 10^power` as a float. Long division gives 64 bits of it, and whether anything is left.
    fn times_power_of_ten(mut self, power: i64) -> f64 {
        let mut divisor = Big(Vec::from([1]));
        let scaled = if power < 0 { &mut divisor } else { &mut self };
        (0..power.abs()).for_each(|_| scaled.multiply_add(10, 0));
        let shift = divisor.bits() - self.bits();
        if shift > 0 { &mut self } else { &mut divisor }.shift_left(shift.abs());
        let mut quotient = 0u64;
        for _ in 0..64 {
            quotient = quotient << 1 | u64::from(self.subtract(&divisor));
            self.multiply_add(2, 0);
        }
        // The value is quotient * 2^(-63 - shift). Below 2^-1022 floats have fewer bits.
        let bits = 64 - i64::from(quotient.leading_zeros());
        let exponent = bits - 64 - shift;
        let kept = 53.min(53 + 1022 + exponent);
        if kept < 0 {
            return 0.0;
        }
        let dropped = (bits - kept) as u32;
        let mantissa = quotient.checked_shr(dropped).unwrap_or(0);
        let rest = quotient - mantissa.checked_shl(dropped).unwrap_or(0);
        let half = 1 << (dropped - 1);
        let up = rest > half || (rest == half && (!self.0.is_empty() || mantissa & 1 == 1));
        let exponent = i64::from(dropped) - 63 - shift;
        // In two steps: either power alone is a normal number.
        let power = |exponent: i64| f64::from_bits(((exponent + 1023) as u64) << 52);
        (mantissa + u64::from(up)) as f64 * power(exponent / 2) * power(exponent - exponent / 2)
    }
}

#[cfg(test)]
mod tests {
    // Expected: the parser of the standard library.
    #[test]
    fn numbers_are_rounded_correctly() {
        let known = "0 -0.0 1 1.5 .5 5. 1e5 1E-5 +2e+3 0.1 0.30000000000000004 123456789.123456789 9007199254740993 \
                     9007199254740993.00000000000000000001 1e22 1e23 8.5e-17 1.7976931348623157e308 1.7976931348623159e308 \
                     1e309 2.2250738585072014e-308 2.2250738585072011e-308 5e-324 2.4703282292062327e-324 \
                     2.4703282292062328e-324 1e-400 4.9406564584124654e-324 6.631236846766476e-316 1e-320";
        let long =
            ["1".repeat(900), format!("0.{}1", "0".repeat(400)), format!("9007199254740993.{}1", "0".repeat(900))];
        let mut texts: Vec<String> = known.split_whitespace().map(String::from).chain(long).collect();
        let mut state = 1u64;
        for _ in 0..5000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let x = f64::from_bits(state ^ state >> 31);
            texts.extend(x.is_finite().then(|| format!("{x:e}")));
            texts.push(format!("{}.{}e{}", state >> 40, state as u32, (state >> 20) as i32 % 330));
        }
        for text in texts {
            let ours = super::parse(&text).unwrap();
            assert_eq!(ours.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        for text in ["", "+", ".", "e5", "1e", "1e+", "--1", "1.2.3", "1x", " 1", "0x1", "inf"] {
            assert_eq!(super::parse(text), None, "{text}");
        }
    }
}
