//! Who acts next: numbers that follow Zipf's law, and the randomness they are drawn with, the same in every run.

/// A generator of numbers that are the same in every run: `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and less than 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) const fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Draws item `n` (from 0) with a probability proportional to 1 / (n + 1)^exponent.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// Sums of the probabilities up to each item, not normalised.
    sums: Vec<f64>,
}

impl Zipf {
    /// `items` must not be 0.
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 items")]
    pub(crate) fn new(items: usize, exponent: f64) -> Self {
        let weights = (1..=items).map(|rank| (rank as f64).powf(-exponent));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let all = self.sums.last().copied().unwrap_or_default();
        let point = random.unit() * all;
        self.sums.partition_point(|sum| *sum <= point).min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, Zipf};

    #[test]
    fn draws_follow_the_law() {
        let (zipf, mut random) = (Zipf::new(1000, 0.99), Random::new(1));
        let mut counts = vec![0_u32; 1000];
        for _ in 0..1_000_000 {
            counts[zipf.draw(&mut random)] += 1;
        }
        let all: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-0.99)).sum();
        for (rank, index) in [(1, 0), (2, 1), (10, 9), (100, 99)] {
            let expected = 1e6 * f64::from(rank).powf(-0.99) / all;
            let seen = f64::from(counts[index]);
            // Five standard deviations of a binomial count.
            assert!((seen - expected).abs() < 5.0 * expected.sqrt(), "{rank}: {seen} instead of {expected}");
        }
        assert!(counts[999] > 0);
    }
}
