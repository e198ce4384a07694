//! The random number of a position: a function of (seed, position) and nothing else.
//!
//! A generator with a state would make the token at a position depend on how many numbers were drawn before it, hence on
//! rejected drafts, on batching and on what a cache has skipped. This one is addressed, not advanced.

/// The random 64 bits of `position` under `seed`.
///
/// They are the output number `position` of splitmix64 started at a hash of the seed. Without the hash, the streams of
/// two seeds that differ by a multiple of splitmix64's increment would be one stream, shifted.
pub fn random(seed: u64, position: u64) -> u64 {
    splitmix64(splitmix64(seed, 0), position)
}

/// Output number `index` (from 0) of the splitmix64 generator started at `start`.
///
/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014), with the finaliser
/// constants of Vigna's public-domain splitmix64.c (Stafford's variant 13). Its state is a counter, so any output can be
/// reached at once.
fn splitmix64(start: u64, index: u64) -> u64 {
    const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut z = start.wrapping_add(INCREMENT.wrapping_mul(index.wrapping_add(1)));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vector of splitmix64 (Rosetta Code, "Pseudo-random numbers/Splitmix64").
    #[test]
    fn splitmix64_test_vector() {
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        for (index, expected) in (0..).zip(published) {
            assert_eq!(splitmix64(1_234_567, index), expected);
        }
    }

    #[test]
    fn seeds_and_positions_do_not_line_up() {
        let increment = 0x9E37_79B9_7F4A_7C15;
        assert_ne!(random(0, 1), random(increment, 0));
        assert_ne!(random(0, 1), random(1, 0));
        assert_ne!(random(7, u64::MAX), random(7, 0));
    }

    /// Over any 4096 neighbours each bit is set about half of the time: the standard deviation is 32, and 192 is six of
    /// them, which 64 * 4 fair counts exceed with a probability below 1e-6.
    #[test]
    fn bits_are_balanced_along_seeds_and_positions() {
        let along: [fn(u64) -> u64; 4] =
            [|i| random(0, i), |i| random(i, 0), |i| random(42, (1 << 40) + i), |i| random(i << 32, i)];
        for source in along {
            for bit in 0..64 {
                let ones = (0..4096).filter(|i| source(*i) >> bit & 1 == 1).count();
                assert!(ones.abs_diff(2048) < 192, "bit {bit}: {ones}");
            }
        }
    }
}
