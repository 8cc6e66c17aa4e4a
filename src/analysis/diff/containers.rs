//! What holds the containers that run, beside what the bundle gives them: their networks, users, rights, limits and
//! mounts, as the engine tells them.
//!
//! Values are compared in one notation for both sides. The source of a mount is compared by what the bundle writes of it:
//! what stands for a variable or a home directory is known only where it was started.

use std::fmt::Display;

use indexmap::IndexMap;
use serde_json::Value;

use super::Change;
use super::isolation::{Settings, Weight, compare};
use crate::plan::amount::bytes;

/// What holds the containers and networks of one bottle, by their names.
#[derive(Debug, Default)]
pub struct Containers(IndexMap<String, Settings>);

impl Containers {
    /// Reads a rendered compose file.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn of_compose(compose: &str) -> Result<Self, serde_yaml::Error> {
        let value: Value = serde_yaml::from_str(compose)?;
        let mut all = Self::default();
        for (name, service) in entries(&value, "/services") {
            of_service(service).put(name, all.part("container", name));
        }
        for (name, network) in entries(&value, "/networks") {
            let settings = all.part("network", name);
            of_network(name, flag(network, "/internal"), flag(network, "/enable_ipv6"), settings);
            of_options(name, &options(network, "/driver_opts"), settings);
        }
        Ok(all)
    }

    /// Reads what the engine tells of the containers and the networks of a project.
    pub fn of_engine<'a>(
        project: &str,
        containers: impl IntoIterator<Item = (&'a str, &'a Value)>,
        networks: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let mut all = Self::default();
        for (service, container) in containers {
            of_container(project, container).put(service, all.part("container", service));
        }
        for network in networks {
            let name = text(network, "/Name");
            let name = name.strip_prefix(&format!("{project}_")).unwrap_or(name);
            let settings = all.part("network", name);
            of_network(name, flag(network, "/Internal"), flag(network, "/EnableIPv6"), settings);
            of_options(name, &options(network, "/Options"), settings);
        }
        all
    }

    fn part(&mut self, kind: &str, name: &str) -> &mut Settings {
        self.0.entry(format!("{kind} {name}")).or_default()
    }
}

/// Compares what runs with what would. What does not run is not compared here.
pub(super) fn changes(running: &Containers, new: &Containers) -> Vec<Change> {
    let none = Settings::default();
    let of = |(part, running): (&String, &Settings)| {
        if let Some(new) = new.0.get(part) {
            return compare(running, &filled(new, running), false);
        }
        let mut there = Settings::default();
        there.put(part, "runs", Weight::Nothing);
        compare(&there, &none, false)
    };
    running.0.iter().flat_map(of).collect()
}

/// The settings of a bundle with what stands for its variables: the source of a mount that ends as the bundle says is that
/// source.
fn filled(new: &Settings, running: &Settings) -> Settings {
    let mut filled = new.clone();
    for (name, (value, _)) in &mut filled.0 {
        let known = running.0.get(name).map(|(known, _)| known);
        if let Some(known) = known
            .filter(|known| name.starts_with(MOUNT) && value.contains('}') && known.ends_with(rest(value)))
        {
            value.clone_from(known);
        }
    }
    filled
}

/// What the name of a mount's setting begins with.
const MOUNT: &str = "mount ";

/// One container in the notation of both sides.
#[derive(Default)]
struct Container<'a> {
    user: &'a str,
    runtime: Option<&'a str>,
    privileged: bool,
    read_only: bool,
    memory: f64,
    pids: Option<f64>,
    cpus: Option<f64>,
    cap_add: Vec<&'a str>,
    cap_drop: Vec<&'a str>,
    security: Vec<&'a str>,
    sysctls: Vec<String>,
    networks: Vec<&'a str>,
    ports: Vec<String>,
    mounts: Vec<Mount<'a>>,
}

struct Mount<'a> {
    source: &'a str,
    target: &'a str,
    writable: bool,
}

impl Container<'_> {
    fn put(self, service: &str, settings: &mut Settings) {
        let Self {
            user,
            runtime,
            privileged,
            read_only,
            memory,
            pids,
            cpus,
            cap_add,
            cap_drop,
            security,
            sysctls,
            networks,
            ports,
            mounts,
        } = self;
        let mut put = |what: &dyn Display, value: String, weight| {
            settings.put(format!("{what} of the container {service}"), value, weight);
        };
        put(&"user", user.to_owned(), Weight::Leads);
        if let Some(runtime) = runtime {
            put(&"runtime", runtime.to_owned(), Weight::Holds);
        }
        if privileged {
            put(&"all rights on the host", "given".to_owned(), Weight::Opens);
        }
        if read_only {
            put(&"file system", "read-only".to_owned(), Weight::Holds);
        }
        if memory > 0.0 {
            put(&"memory", format!("{} MiB", memory / f64::from(1 << 20)), Weight::Limit(memory));
        }
        if let Some(pids) = pids {
            put(&"processes", pids.to_string(), Weight::Limit(pids));
        }
        if let Some(cpus) = cpus {
            put(&"processors", cpus.to_string(), Weight::Limit(cpus));
        }
        let capability = |name: &str| name.trim_start_matches("CAP_").to_owned();
        for name in cap_add {
            put(&format!("capability {}", capability(name)), "given".to_owned(), Weight::Opens);
        }
        for name in cap_drop {
            put(&format!("capabilities {}", capability(name)), "taken".to_owned(), Weight::Holds);
        }
        for option in security {
            // `label=disable` opens as surely as `no-new-privileges` holds: any difference is worth a look.
            put(&format!("security option {option}"), "set".to_owned(), Weight::Leads);
        }
        for sysctl in sysctls {
            put(&format!("sysctl {sysctl}"), "set".to_owned(), Weight::Leads);
        }
        for network in networks {
            put(&format!("network {network}"), "joined".to_owned(), Weight::Opens);
        }
        for port in ports {
            put(&format!("published port {port}"), "published".to_owned(), Weight::Opens);
        }
        for Mount { source, target, writable } in mounts {
            put(&format!("{MOUNT}{target}"), source.to_owned(), Weight::Opens);
            if writable {
                put(&format!("writing to the mount {target}"), "allowed".to_owned(), Weight::Opens);
            }
        }
    }
}

fn of_service(service: &Value) -> Container<'_> {
    let networks = match service.pointer("/networks") {
        Some(Value::Object(map)) => map.keys().map(String::as_str).collect(),
        Some(list) => words(list),
        None => vec![text(service, "/network_mode")],
    };
    let mounts = service.pointer("/volumes").and_then(Value::as_array).into_iter().flatten();
    Container {
        user: text(service, "/user"),
        runtime: service.pointer("/runtime").and_then(Value::as_str),
        privileged: flag(service, "/privileged"),
        read_only: flag(service, "/read_only"),
        memory: service.pointer("/mem_limit").and_then(Value::as_str).map_or(0.0, bytes),
        pids: service.pointer("/pids_limit").and_then(Value::as_f64),
        cpus: service.pointer("/cpus").and_then(|cpus| cpus.as_f64().or_else(|| cpus.as_str()?.parse().ok())),
        cap_add: list(service, "/cap_add"),
        cap_drop: list(service, "/cap_drop"),
        security: list(service, "/security_opt"),
        sysctls: options(service, "/sysctls"),
        networks,
        ports: list(service, "/ports").into_iter().map(str::to_owned).collect(),
        mounts: mounts
            .map(|mount| Mount {
                source: written(text(mount, "/source")),
                target: text(mount, "/target"),
                writable: mount.pointer("/read_only").and_then(Value::as_bool) != Some(true),
            })
            .collect(),
    }
}

fn of_container<'a>(project: &str, value: &'a Value) -> Container<'a> {
    let host = |name: &str| value.pointer(&format!("/HostConfig/{name}"));
    let number = |name: &str| host(name).and_then(Value::as_f64).filter(|number| *number > 0.0);
    let own = format!("{project}_");
    let networks = entries(value, "/NetworkSettings/Networks");
    let bindings = entries(value, "/HostConfig/PortBindings");
    let ports = bindings.flat_map(|(port, bindings)| {
        let port = port.trim_end_matches("/tcp");
        let bindings = bindings.as_array().into_iter().flatten();
        bindings
            .map(move |binding| format!("{}:{}:{port}", text(binding, "/HostIp"), text(binding, "/HostPort")))
    });
    let directory = text(value, "/Config/Labels/com.docker.compose.project.working_dir");
    let mounts = value.pointer("/Mounts").and_then(Value::as_array).into_iter().flatten();
    let mounts = mounts.map(|mount| {
        let source = match text(mount, "/Type") {
            "volume" => text(mount, "/Name"),
            _ => text(mount, "/Source"),
        };
        let inside = source.strip_prefix(directory).filter(|_| !directory.is_empty());
        let source = inside.and_then(|rest| rest.strip_prefix('/')).unwrap_or(source);
        Mount {
            source: source.strip_prefix(&own).unwrap_or(source),
            target: text(mount, "/Destination"),
            writable: mount.pointer("/RW").and_then(Value::as_bool).unwrap_or(true),
        }
    });
    Container {
        user: text(value, "/Config/User"),
        runtime: Some(text(value, "/HostConfig/Runtime")).filter(|runtime| !matches!(*runtime, "" | "runc")),
        privileged: flag(value, "/HostConfig/Privileged"),
        read_only: flag(value, "/HostConfig/ReadonlyRootfs"),
        memory: number("Memory").unwrap_or_default(),
        pids: number("PidsLimit"),
        cpus: number("NanoCpus").map(|nano| nano / 1e9),
        cap_add: list(value, "/HostConfig/CapAdd"),
        cap_drop: list(value, "/HostConfig/CapDrop"),
        security: list(value, "/HostConfig/SecurityOpt"),
        sysctls: options(value, "/HostConfig/Sysctls"),
        networks: networks.map(|(name, _)| name.strip_prefix(&own).unwrap_or(name)).collect(),
        ports: ports.collect(),
        mounts: mounts.collect(),
    }
}

fn of_network(name: &str, internal: bool, ipv6: bool, settings: &mut Settings) {
    if internal {
        settings.put(format!("network {name}"), "is internal", Weight::Holds);
    }
    if ipv6 {
        settings.put(format!("IPv6 of the network {name}"), "on", Weight::Opens);
    }
}

fn of_options(name: &str, options: &[String], settings: &mut Settings) {
    for option in options {
        settings.put(format!("option {option} of the network {name}"), "set", Weight::Holds);
    }
}

/// What the bundle itself says of a source: nothing of where its directory is.
fn written(source: &str) -> &str {
    source.strip_prefix("./").unwrap_or(source)
}

/// What comes after a variable; all where there is none.
fn rest(source: &str) -> &str {
    source.rsplit_once('}').map_or(source, |(_, rest)| rest)
}

fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let map = value.pointer(pointer).and_then(Value::as_object);
    map.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    value.pointer(pointer).map(words).unwrap_or_default()
}

fn options(value: &Value, pointer: &str) -> Vec<String> {
    entries(value, pointer)
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Containers, changes};
    use crate::analysis::diff::What;

    const COMPOSE: &str = "services:
  agent:
    user: '1000:1000'
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    mem_limit: 4g
    pids_limit: 512
    networks: [inside]
    volumes:
      - { type: bind, source: ./.bottle/a/agent/gitconfig, target: /etc/bottle/gitconfig, read_only: true }
      - { type: bind, source: '${HOME:?set it}/keys/id', target: /keys/id, read_only: true }
      - { type: volume, source: home, target: /home/agent }
  supervise:
    user: '9444:9444'
    read_only: true
    cap_add: [SETUID]
    sysctls: { net.ipv4.ip_forward: '0' }
    ports: ['127.0.0.1:7333:7333']
    networks: { inside: { aliases: [x] }, operator: {} }
networks:
  inside: { internal: true, enable_ipv6: false, driver_opts: { com.example.mode: isolated } }
";

    /// What an engine says of those containers.
    fn engine() -> (Value, Value, Value) {
        let agent = json!({
            "Config": { "User": "1000:1000", "Labels": { "com.docker.compose.project.working_dir": "/work" } },
            "HostConfig": {
                "CapDrop": ["ALL"], "CapAdd": null, "SecurityOpt": ["no-new-privileges:true"], "Memory": 4_294_967_296_u64,
                "PidsLimit": 512, "NanoCpus": 0, "Runtime": "runc", "Privileged": false, "PortBindings": {}
            },
            "NetworkSettings": { "Networks": { "bottle-a_inside": {} } },
            "Mounts": [
                { "Type": "bind", "Source": "/work/.bottle/a/agent/gitconfig", "Destination": "/etc/bottle/gitconfig", "RW": false },
                { "Type": "bind", "Source": "/home/u/keys/id", "Destination": "/keys/id", "RW": false },
                { "Type": "volume", "Name": "bottle-a_home", "Source": "/var/x", "Destination": "/home/agent", "RW": true }
            ]
        });
        let supervise = json!({
            "Config": { "User": "9444:9444" },
            "HostConfig": {
                "CapAdd": ["CAP_SETUID"], "ReadonlyRootfs": true, "Sysctls": { "net.ipv4.ip_forward": "0" },
                "PortBindings": { "7333/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "7333" }] }
            },
            "NetworkSettings": { "Networks": { "bottle-a_inside": {}, "bottle-a_operator": {} } }
        });
        let inside = json!({
            "Name": "bottle-a_inside", "Internal": true, "EnableIPv6": false, "Options": { "com.example.mode": "isolated" }
        });
        (agent, supervise, inside)
    }

    /// What differs, as `name: old -> new`, with `!` before what widens.
    fn said(agent: &Value, supervise: &Value, inside: &Value) -> Vec<String> {
        let running =
            Containers::of_engine("bottle-a", [("agent", agent), ("supervise", supervise)], [inside]);
        let new = Containers::of_compose(COMPOSE).unwrap();
        let said = changes(&running, &new).into_iter().map(|change| match change.what {
            What::Setting(setting) => {
                let value = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
                let mark = if change.widens { "!" } else { "" };
                format!("{mark}{}: {} -> {}", setting.name, value(setting.old), value(setting.new))
            }
            other => format!("{other:?}"),
        });
        said.collect()
    }

    #[test]
    fn what_the_engine_says_of_a_bundle_is_the_bundle() {
        let (agent, supervise, inside) = engine();
        assert_eq!(said(&agent, &supervise, &inside), Vec::<String>::new());
    }

    #[test]
    fn what_was_opened_beside_the_bundle_is_told() {
        let (mut agent, mut supervise, mut inside) = engine();
        agent["HostConfig"]["Memory"] = json!(1_073_741_824);
        agent["HostConfig"]["CapAdd"] = json!(["CAP_NET_ADMIN"]);
        agent["HostConfig"]["Privileged"] = json!(true);
        agent["NetworkSettings"]["Networks"]["bottle-a_outside"] = json!({});
        agent["Mounts"][0]["RW"] = json!(true);
        supervise["HostConfig"]["PortBindings"]["7333/tcp"][0]["HostIp"] = json!("0.0.0.0");
        supervise["HostConfig"]["ReadonlyRootfs"] = json!(false);
        inside["Internal"] = json!(false);
        assert_eq!(
            said(&agent, &supervise, &inside),
            [
                "!memory of the container agent: 1024 MiB -> 4096 MiB",
                "all rights on the host of the container agent: given -> none",
                "capability NET_ADMIN of the container agent: given -> none",
                "network outside of the container agent: joined -> none",
                "writing to the mount /etc/bottle/gitconfig of the container agent: allowed -> none",
                "file system of the container supervise: none -> read-only",
                "!published port 127.0.0.1:7333:7333 of the container supervise: none -> published",
                "published port 0.0.0.0:7333:7333 of the container supervise: published -> none",
                "network inside: none -> is internal",
            ]
        );
    }

    #[test]
    fn what_does_not_run_is_not_compared_and_what_the_bundle_has_not_is_told() {
        let (agent, supervise, _) = engine();
        let new = Containers::of_compose(COMPOSE).unwrap();
        let running = Containers::of_engine("bottle-a", [("agent", &agent)], []);
        assert_eq!(changes(&running, &new), []);
        let running = Containers::of_engine("bottle-a", [("debug", &supervise)], []);
        let told = changes(&running, &new);
        assert!(
            matches!(&told[..], [change] if format!("{:?}", change.what).contains("container debug")),
            "{told:?}"
        );
    }
}
