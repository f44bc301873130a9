//! Which addresses may the server be sent to? Those that a name really leads to are looked at, and no others are connected to: a name that
//! leads elsewhere the second time gains nothing.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;

/// Resolves names as the system does, and leaves out what is not to be asked.
pub(super) struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err("its name leads to no address that is to be asked".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of another machine. Those of private networks are: an issuer may stand in one's own.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            let within = embedded_v4(address);
            let is_link_local = address.segments()[0] & 0xffc0 == 0xfe80;
            let is_special = address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_link_local;
            !is_special && address != METADATA_V6 && within.is_none_or(is_public_v4)
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = address.is_loopback() || address.is_link_local() || address.is_multicast() || address.is_broadcast();
    !is_special && address.octets()[0] != 0 && address != METADATA_V4
}

/// The address of the old kind that one of the new kind is translated to: NAT64 and 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [first, second, third, .., seventh, eighth] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (first, second) {
        (0x64, 0xff9b) => Some(join(seventh, eighth)),
        (0x2002, high) => Some(join(high, third)),
        _ => None,
    }
}

/// Where some clouds tell each machine its own secrets, beside 169.254.169.254.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    /// What a name leads to is looked at when it is connected to, so one that changes its mind gains nothing.
    #[tokio::test]
    async fn k7_names_that_lead_to_this_machine_are_not_followed() {
        let name = Name::from_str("localhost").unwrap();
        assert!(Guarded.resolve(name).await.is_err());
        let name = Name::from_str("192.168.1.7").unwrap();
        assert_eq!(Guarded.resolve(name).await.unwrap().count(), 1);
    }
}
