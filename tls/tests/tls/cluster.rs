//! An authority of the tests' own, and two ends of a connection in memory.

use std::time::{Duration, SystemTime};

use groupcache_tls::authority::{Authority, Issued};
use groupcache_tls::credentials::Credentials;
use groupcache_tls::handshake::{Refused, accept, connect};
use groupcache_tls::identity::{Identity, Role};
use groupcache_tls::keeper::Keeper;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn authority(name: &str) -> Authority {
    Authority::generate(name, SystemTime::now(), 100 * DAY).expect("an authority")
}

pub(crate) fn issued(by: &Authority, cluster: &str, role: Role) -> Issued {
    by.issue(&Identity::new(cluster, role), SystemTime::now(), DAY).expect("a certificate")
}

pub(crate) fn credentials(by: &Authority, cluster: &str, role: Role, trusted: &[&Authority]) -> Credentials {
    let issued = issued(by, cluster, role);
    let roots: String = trusted.iter().map(|authority| authority.certificate_pem()).collect();
    Credentials::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.as_bytes(), roots.as_bytes())
        .expect("credentials")
}

pub(crate) fn keeper(by: &Authority, cluster: &str, role: Role) -> Keeper {
    Keeper::new(credentials(by, cluster, role, &[by]))
}

/// Whom the called side sees, and whether the caller got a byte through and one back.
pub(crate) async fn meet(called: &Keeper, caller: &Keeper) -> (Result<Identity, Refused>, bool) {
    let (near, far) = duplex(16 << 10);
    let answers = async {
        let (mut stream, who) = accept(called, far).await?;
        if stream.read_u8().await.is_ok() {
            let _ = stream.write_u8(2).await;
            let _ = stream.flush().await;
        }
        Ok(who)
    };
    let asks = async {
        let Ok(mut stream) = connect(caller, near).await else { return false };
        let sent = stream.write_u8(1).await.is_ok() && stream.flush().await.is_ok();
        sent && stream.read_u8().await.is_ok_and(|answer| answer == 2)
    };
    tokio::join!(answers, asks)
}
