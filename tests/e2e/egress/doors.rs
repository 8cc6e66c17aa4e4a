//! There is no other way out. Each door has somebody behind it who answers when he is asked from elsewhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::PoisonError;

use libtest_mimic::Failed;

use super::world::{CHECK, METADATA, bottle, curl};
use crate::world::{Project, eventually, main};
use crate::{FIRST, Test};

pub(crate) const TESTS: &[Test] = &[
    ("the_agent_reaches_no_origin_over_tcp_udp_or_icmp", origin),
    ("the_agent_reaches_no_address_of_the_host", host),
    ("the_agent_has_no_ipv6", ipv6),
    ("the_agent_resolves_only_the_sidecars", names),
    ("the_agent_does_not_reach_the_admin_address", admin),
    ("whoever_stands_outside_does_not_reach_the_proxy", outside),
    ("bottles_on_one_engine_do_not_reach_each_others_sidecars", other_bottles),
    ("what_goes_by_no_variable_gets_nowhere", no_variables),
    ("nothing_gets_out_while_egress_is_stopped_or_hangs", stopped),
];

const KNOCK: &str = include_str!("knock.py");

/// Knocks at doors from a container, and says which of them opened.
pub(crate) fn knock(
    project: &Project,
    service: &str,
    doors: &[String],
) -> Result<BTreeMap<String, bool>, Failed> {
    let doors: Vec<&str> = doors.iter().map(String::as_str).collect();
    let said = project.exec(service, &[], &[&["python3", "-c", KNOCK][..], &doors].concat()).expect_ok()?;
    let line = |line: &str| {
        let (state, door) = line.split_once(' ')?;
        Some((door.to_owned(), state == "open"))
    };
    Ok(said.lines().filter_map(line).collect())
}

/// Fails the test unless every door opens from `from`, and none for the agent.
pub(crate) fn shut_for_the_agent(project: &Project, from: &str, doors: &[String]) -> Result<(), Failed> {
    let elsewhere = knock(project, from, doors)?;
    let dead: Vec<_> = doors.iter().filter(|door| elsewhere.get(*door) != Some(&true)).collect();
    assert!(dead.is_empty(), "nobody answers at {dead:?}, so this proves nothing");
    let agent = knock(project, "agent", doors)?;
    let open: Vec<_> = doors.iter().filter(|door| agent.get(*door) != Some(&false)).collect();
    assert!(open.is_empty(), "the agent gets an answer from {open:?}");
    Ok(())
}

pub(crate) fn addresses(project: &Project, service: &str) -> Vec<String> {
    let form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    project.inspect(service, form).split_whitespace().map(str::to_owned).collect()
}

/// The address of a service on one of the bottle's networks.
pub(crate) fn address_on(project: &Project, service: &str, network: &str) -> String {
    let slug = &project.slug;
    let form = format!("{{{{(index .NetworkSettings.Networks \"bottle-{slug}_{network}\").IPAddress}}}}");
    project.inspect(service, &form)
}

fn origin() -> Result<(), Failed> {
    let project = bottle()?;
    let mut doors = Vec::new();
    for address in addresses(project, "origin").into_iter().chain([METADATA.to_owned()]) {
        doors.extend([
            format!("tcp:{address}:443"),
            format!("tcp:{address}:80"),
            format!("icmp:{address}:0"),
        ]);
    }
    shut_for_the_agent(project, "neighbour", &doors)?;
    // The agent's own means are not to blame: what it may reach answers it in each of these ways.
    let own = addresses(project, "egress");
    let doors: Vec<_> =
        own.iter().flat_map(|own| [format!("tcp:{own}:3128"), format!("icmp:{own}:0")]).collect();
    let agent = knock(project, "agent", &doors)?;
    assert_eq!(agent.values().filter(|open| **open).count(), 2, "{agent:?}");
    Ok(())
}

/// Says everything that it hears, to whoever said it.
fn echo() -> Result<u16, Failed> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let port = socket.local_addr()?.port();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // Whoever knocked may be gone.
            drop(socket.send_to(buffer.get(..length).unwrap_or_default(), from));
        }
    });
    Ok(port)
}

fn host() -> Result<(), Failed> {
    let project = bottle()?;
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let (tcp, udp) = (listener.local_addr()?.port(), echo()?);
    // Every bridge of the engine is among them, this bottle's too.
    let listed = project.run("hostname", &["-I"]).expect_ok()?;
    let addresses = listed.split_whitespace().filter(|text| matches!(text.parse(), Ok(IpAddr::V4(_))));
    let doors: Vec<String> = addresses
        .flat_map(|address| {
            [format!("tcp:{address}:{tcp}"), format!("udp:{address}:{udp}"), format!("icmp:{address}:0")]
        })
        .collect();
    assert!(doors.len() >= 6, "the host has no addresses: {listed}");
    shut_for_the_agent(project, "neighbour", &doors)?;
    // The gateways as the engine names them, whether anybody holds such an address or not.
    let gateways = project.inspect("agent", "{{range .NetworkSettings.Networks}}{{.Gateway}} {{end}}");
    let doors: Vec<String> = gateways
        .split_whitespace()
        .flat_map(|gateway| {
            [format!("tcp:{gateway}:{tcp}"), format!("udp:{gateway}:{udp}"), format!("icmp:{gateway}:0")]
        })
        .collect();
    let open: Vec<_> = knock(project, "agent", &doors)?.into_iter().filter(|(_, open)| *open).collect();
    assert!(open.is_empty(), "{open:?}");
    Ok(())
}

fn ipv6() -> Result<(), Failed> {
    let project = bottle()?;
    let listener = TcpListener::bind("[::]:0")?;
    let port = listener.local_addr()?.port();
    TcpStream::connect(("::1", port))?;
    let listed = project.run("ip", &["-6", "-o", "addr"]).text;
    let held = listed.split_whitespace().filter_map(|word| word.split_once('/')).map(|(address, _)| address);
    let held: Vec<&str> = held.filter(|text| text.parse::<std::net::Ipv6Addr>().is_ok()).collect();
    let doors: Vec<String> = held
        .into_iter()
        .chain(["ff02::1", "fe80::1", "2001:4860:4860::8888"])
        .flat_map(|address| [format!("tcp:[{address}]:{port}"), format!("udp:[{address}]:{port}")])
        .filter(|door| !door.contains("[::1]"))
        .collect();
    let open: Vec<_> = knock(project, "agent", &doors)?.into_iter().filter(|(_, open)| *open).collect();
    assert!(open.is_empty(), "{open:?}");
    let own = project.agent("grep -v ' lo$' /proc/net/if_inet6 || echo none").expect_ok()?;
    assert!(own.ends_with("none\n"), "{own}");
    Ok(())
}

fn names() -> Result<(), Failed> {
    let project = bottle()?;
    let outside = ["dns:127.0.0.11:api.example.org", "dns:127.0.0.11:origin"].map(str::to_owned);
    shut_for_the_agent(project, "neighbour", &outside)?;
    let inside = ["dns:127.0.0.11:egress".to_owned()];
    assert_eq!(knock(project, "agent", &inside)?.values().filter(|open| **open).count(), 1);
    // Egress is no name server, and the host's is not reached by another way.
    let mut doors = vec!["dns:127.0.0.1:egress".to_owned(), "dns:127.0.0.53:egress".to_owned()];
    doors.extend(addresses(project, "egress").iter().map(|address| format!("dns:{address}:egress")));
    let open: Vec<_> = knock(project, "agent", &doors)?.into_iter().filter(|(_, open)| *open).collect();
    assert!(open.is_empty(), "{open:?}");
    let said = project.agent("timeout 10 getent hosts api.example.org || echo none").expect_ok()?;
    assert_eq!(said, "none\n");
    Ok(())
}

/// The neighbour stands where the host's users and the other sidecars do. Only what is on its own network is asked: an
/// address elsewhere may be answered by whatever the host's default route leads to.
fn outside() -> Result<(), Failed> {
    let project = bottle()?;
    let [inside, outside] = ["inside", "outside"].map(|network| address_on(project, "egress", network));
    let door = format!("tcp:{inside}:3128");
    assert_eq!(knock(project, "agent", std::slice::from_ref(&door))?.get(&door), Some(&true), "{door}");
    let (ping, door) = (format!("icmp:{outside}:0"), format!("tcp:{outside}:3128"));
    let answers = knock(project, "neighbour", &[ping.clone(), door.clone()])?;
    assert_eq!(answers.get(&ping), Some(&true), "egress is not there, so this proves nothing: {answers:?}");
    assert_eq!(answers.get(&door), Some(&false), "whoever stands outside could use the agent's routes");
    Ok(())
}

fn admin() -> Result<(), Failed> {
    let project = bottle()?;
    project.exec("egress", &[], &CHECK).expect_ok()?;
    let own = addresses(project, "egress");
    let doors: Vec<String> = own.iter().map(|address| format!("tcp:{address}:3129")).collect();
    let open: Vec<_> = knock(project, "agent", &doors)?.into_iter().filter(|(_, open)| *open).collect();
    assert!(open.is_empty(), "{open:?}");
    // Not by way of the proxy either.
    for url in ["http://127.0.0.1:3129/policy", "http://localhost:3129/policy", "http://egress:3129/policy"] {
        let text = curl(project, &format!("--noproxy '' --proxy http://egress:3128 {url}")).text;
        assert!(text.contains("403 ") && !text.contains("version"), "{url}: {text}");
    }
    Ok(())
}

fn other_bottles() -> Result<(), Failed> {
    // The other bottle is another lane's, which stops its gate at times.
    let _turn = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    let (one, two) = (bottle()?, main()?);
    for (owner, other, service, port) in [(one, two, "egress", 3128), (two, one, "git-gate", 9418)] {
        let doors: Vec<String> =
            addresses(owner, service).iter().map(|address| format!("tcp:{address}:{port}")).collect();
        let own = knock(owner, "agent", &doors)?;
        assert_eq!(
            own.values().filter(|open| **open).count(),
            1,
            "its own agent should reach {service}: {own:?}"
        );
        let foreign = knock(other, "agent", &doors)?;
        assert!(foreign.values().all(|open| !open), "another bottle's agent reaches {service}: {foreign:?}");
    }
    Ok(())
}

fn no_variables() -> Result<(), Failed> {
    let project = bottle()?;
    let address = addresses(project, "origin").into_iter().next().ok_or("no address")?;
    for arguments in [
        "--noproxy '*' https://api.example.org/v1/x".to_owned(),
        format!(
            "--noproxy '*' --insecure --resolve api.example.org:443:{address} https://api.example.org/v1/x"
        ),
        format!("--insecure --proxy http://{address}:80 http://api.example.org/"),
        "--proxy socks5h://egress:3128 https://api.example.org/v1/x".to_owned(),
    ] {
        let said = curl(project, &format!("--connect-timeout 4 {arguments}"));
        assert!(!said.ok, "{arguments}: {}", said.text);
    }
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    let project = bottle()?;
    let url = "https://api.example.org/v1/x";
    let doors: Vec<String> =
        addresses(project, "origin").iter().map(|address| format!("tcp:{address}:443")).collect();
    for (off, on) in [(&["pause"][..], "unpause"), (&["stop", "--timeout", "10"][..], "start")] {
        curl(project, url).expect_ok()?;
        project.compose(&[off, &["egress"]].concat()).expect_ok()?;
        let said = curl(project, &format!("--max-time 4 {url}"));
        let direct = knock(project, "agent", &doors);
        project.compose(&[on, "egress"]).expect_ok()?;
        assert!(!said.ok && !said.text.contains("200"), "{off:?}: {}", said.text);
        assert!(direct?.values().all(|open| !open), "{off:?}");
        eventually("egress answers again", || curl(project, url).ok)?;
    }
    Ok(())
}
