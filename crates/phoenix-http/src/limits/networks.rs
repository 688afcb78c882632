//! What networks mean for a class: exempt, or limits of their own. Prepared once, so that looking up an address is two
//! binary searches at most. Does not own where addresses come from.

use std::net::IpAddr;

use ipnet::IpNet;
use phoenix_limit::Rule;

/// What is done with an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// As everybody.
    Common,
    /// Not limited.
    Exempt,
    /// By the rule at this position.
    Scaled(usize),
}

/// What is done with every address. Both families are cut into stretches of addresses with the same verdict.
#[derive(Debug)]
pub(super) struct Treatment {
    /// First address of each stretch, ascending, the first being 0.
    v4: Vec<(u32, Verdict)>,
    v6: Vec<(u128, Verdict)>,
    scaled: Vec<Rule>,
}

impl Treatment {
    /// Exempt networks come before factors; among factors the longest prefix counts, of equal ones the first.
    pub(super) fn new(exempt: &[IpNet], factors: &[(IpNet, f64)], rule: &Rule) -> Self {
        let verdict = |address: IpAddr| {
            if exempt.iter().any(|network| network.contains(&address)) {
                return Verdict::Exempt;
            }
            let holding = factors.iter().enumerate().filter(|(_, (network, _))| network.contains(&address));
            let longest = holding
                .reduce(|best, next| if next.1.0.prefix_len() > best.1.0.prefix_len() { next } else { best });
            longest.map_or(Verdict::Common, |(position, _)| Verdict::Scaled(position))
        };
        let (mut v4, mut v6) = (vec![0_u32], vec![0_u128]);
        for network in exempt.iter().chain(factors.iter().map(|(network, _)| network)) {
            match network {
                IpNet::V4(network) => {
                    v4.push(network.network().to_bits());
                    v4.extend(network.broadcast().to_bits().checked_add(1));
                }
                IpNet::V6(network) => {
                    v6.push(network.network().to_bits());
                    v6.extend(network.broadcast().to_bits().checked_add(1));
                }
            }
        }
        Self {
            v4: stretches(v4, |bits| verdict(IpAddr::V4(bits.into()))),
            v6: stretches(v6, |bits| verdict(IpAddr::V6(bits.into()))),
            scaled: factors.iter().map(|(_, factor)| rule.scaled(*factor)).collect(),
        }
    }

    /// The rule for an address, `common` for those without one of their own; `None` when it is exempt.
    pub(super) fn rule_for<'a>(&'a self, address: IpAddr, common: &'a Rule) -> Option<&'a Rule> {
        let verdict = match address.to_canonical() {
            IpAddr::V4(address) => at(&self.v4, address.to_bits()),
            IpAddr::V6(address) => at(&self.v6, address.to_bits()),
        };
        match verdict {
            Verdict::Common => Some(common),
            Verdict::Exempt => None,
            Verdict::Scaled(position) => self.scaled.get(position),
        }
    }
}

fn stretches<B: Copy + Ord>(mut starts: Vec<B>, verdict: impl Fn(B) -> Verdict) -> Vec<(B, Verdict)> {
    starts.sort_unstable();
    starts.dedup();
    let mut stretches: Vec<_> = starts.into_iter().map(|start| (start, verdict(start))).collect();
    stretches.dedup_by_key(|(_, verdict)| *verdict);
    stretches
}

fn at<B: Copy + Ord>(stretches: &[(B, Verdict)], bits: B) -> Verdict {
    let after = stretches.partition_point(|(start, _)| *start <= bits);
    after
        .checked_sub(1)
        .and_then(|index| stretches.get(index))
        .map_or(Verdict::Common, |(_, verdict)| *verdict)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use phoenix_limit::Window;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn rule(limit: u32) -> Rule {
        Rule::new(&[Window { limit, span: Duration::from_mins(1) }], None).unwrap()
    }

    fn limit(treatment: &Treatment, common: &Rule, address: &str) -> Option<u32> {
        treatment.rule_for(address.parse().unwrap(), common).map(|rule| rule.longest().limit)
    }

    // spec: R5
    #[test]
    fn networks_are_exempt_or_have_limits_of_their_own() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let common = rule(100);
        let factors = [(net("10.0.0.0/8"), 2.0), (net("10.1.0.0/16"), 0.5), (net("2001:db8::/32"), 10.0)];
        let treatment = Treatment::new(&[net("10.1.2.0/24"), net("::1/128")], &factors, &common);
        for (address, expected) in [
            ("9.255.255.255", Some(100)),
            ("10.0.0.0", Some(200)),
            ("10.1.0.0", Some(50)),
            ("10.1.1.255", Some(50)),
            ("10.1.2.0", None),
            ("10.1.2.255", None),
            ("10.1.3.0", Some(50)),
            ("10.255.255.255", Some(200)),
            ("11.0.0.0", Some(100)),
            ("255.255.255.255", Some(100)),
            ("::ffff:10.1.2.3", None),
            ("::1", None),
            ("::2", Some(100)),
            ("2001:db8:ffff::", Some(1000)),
            ("2001:db9::", Some(100)),
        ] {
            assert_eq!(limit(&treatment, &common, address), expected, "{address}");
        }
        let all = Treatment::new(&[net("0.0.0.0/0"), net("::/0")], &factors, &common);
        assert_eq!(limit(&all, &common, "255.255.255.255"), None);
        assert_eq!(limit(&all, &common, "ffff::ffff"), None);
    }

    fn small_network() -> impl Strategy<Value = IpNet> {
        let v4 = (0_u32..64, 24_u8..=32).prop_map(|(bits, prefix)| (IpAddr::V4(bits.into()), prefix));
        let v6 = (0_u128..64, 120_u8..=128).prop_map(|(bits, prefix)| (IpAddr::V6(bits.into()), prefix));
        prop_oneof![v4, v6].prop_map(|(address, prefix)| IpNet::new(address, prefix).unwrap().trunc())
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_network(
            exempt in vec(small_network(), 0..4),
            factors in vec((small_network(), 1_u8..100), 0..6),
        ) {
            let factors: Vec<_> = factors.into_iter().map(|(network, by)| (network, f64::from(by))).collect();
            let common = rule(7);
            let treatment = Treatment::new(&exempt, &factors, &common);
            for bits in 0..64_u8 {
                for address in [IpAddr::V4(u32::from(bits).into()), IpAddr::V6(u128::from(bits).into())] {
                    let found = treatment.rule_for(address, &common).map(|rule| rule.longest().limit);
                    let mut expected = Some(7);
                    let mut longest = None;
                    for (network, factor) in &factors {
                        if network.contains(&address) && Some(network.prefix_len()) > longest {
                            longest = Some(network.prefix_len());
                            expected = Some(common.scaled(*factor).longest().limit);
                        }
                    }
                    if exempt.iter().any(|network| network.contains(&address)) {
                        expected = None;
                    }
                    prop_assert_eq!(found, expected, "{}", address);
                }
            }
        }
    }
}
