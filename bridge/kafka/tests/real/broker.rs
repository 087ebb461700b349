//! A real broker for a test alone: its own folder, ports, certificates, users and ACLs. It lives in this process's care: a
//! shell waits on a pipe from here and kills the broker when the pipe closes, however this process ends.
//!
//! Its jars are those of `deploy/dev/services.sh`; its certificates come from the `openssl` command. It listens with each
//! way of protection that a department may have:
//!
//! | listener | protocol | who may |
//! |---|---|---|
//! | `plain` | PLAINTEXT | anybody: the test itself, and Kafka's own tools |
//! | `tls` | SSL | anybody who believes the test's CA |
//! | `mutual` | SSL | who shows a certificate of the test's CA; the principal is its common name |
//! | `sasl` | SASL_PLAINTEXT | PLAIN and SCRAM users |
//! | `sasl_tls` | SASL_SSL | the same, with TLS |
//!
//! `tax` may do everything, `stranger` nothing that an ACL does not give. Both have the password [`PASSWORD`].

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use deploy_ports::Port;

/// How long anything of a broker may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The password of every user.
pub const PASSWORD: &str = "wurzelbrunft-7";

/// A broker that runs, or could.
pub struct Broker {
    folder: tempfile::TempDir,
    ports: [Port; 6],
    running: Option<Running>,
}

struct Running {
    shell: Child,
    /// The shell reads from it; when it closes, the broker is killed.
    _care: ChildStdin,
    pid: u32,
}

/// Where the jars are, brought here when they are not.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap();
        let fetched =
            Command::new(root.join("deploy/dev/services.sh")).args(["fetch", "kafka"]).output().unwrap();
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim())
    })
}

fn log4j() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap();
    root.join("deploy/dev/services/log4j2.xml")
}

fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    // A broker of a test is small, and lives too short for the second compiler.
    command.args(["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    command.arg(format!("-Dlog4j2.configurationFile=file:{}", log4j().display()));
    command.arg("-cp").arg(format!("{}/libs/*", home().display())).arg(class);
    command
}

fn done(mut command: Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", said(&output.stdout), said(&output.stderr));
    output
}

impl Broker {
    /// Starts one; `more` are further lines of its settings.
    pub fn start(more: &str) -> Broker {
        let folder = tempfile::tempdir().unwrap();
        let ports = std::array::from_fn(|_| Port::reserve().unwrap());
        let mut broker = Broker { folder, ports, running: None };
        broker.make_certificates();
        std::fs::write(broker.path("server.properties"), broker.properties(more)).unwrap();
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "-t", "Z292YnJpZGdlLXRlc3RzMQ", "-c"]).arg(broker.path("server.properties"));
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            for user in ["tax", "stranger"] {
                format.arg("--add-scram").arg(format!("{mechanism}=[name={user},password={PASSWORD}]"));
            }
        }
        done(format);
        broker.begin();
        broker
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self, listener: usize) -> String {
        format!("127.0.0.1:{}", self.ports[listener].number())
    }

    /// The listener without any protection.
    pub fn plain(&self) -> String {
        self.address(0)
    }

    /// TLS, the server's certificate only.
    pub fn tls(&self) -> String {
        self.address(1)
    }

    /// TLS with a certificate of the client's.
    pub fn mutual(&self) -> String {
        self.address(2)
    }

    /// A password, without TLS.
    pub fn sasl(&self) -> String {
        self.address(3)
    }

    /// A password under TLS.
    pub fn sasl_tls(&self) -> String {
        self.address(4)
    }

    fn properties(&self, more: &str) -> String {
        let [plain, tls, mutual, sasl, sasl_tls, controller] =
            [0, 1, 2, 3, 4, 5].map(|port| self.address(port));
        let folder = self.folder.path().display();
        let listeners =
            format!("PLAINTEXT://{plain},TLS://{tls},MUTUAL://{mutual},SASL://{sasl},SASLTLS://{sasl_tls}");
        let plain_users = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_tax=\"{PASSWORD}\" user_stranger=\"{PASSWORD}\";"
        );
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let logins: String = ["sasl", "sasltls"]
            .iter()
            .map(|listener| {
                format!(
                    "listener.name.{listener}.plain.sasl.jaas.config={plain_users}\n\
                     listener.name.{listener}.scram-sha-256.sasl.jaas.config={scram}\n\
                     listener.name.{listener}.scram-sha-512.sasl.jaas.config={scram}\n"
                )
            })
            .collect();
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
             listeners={listeners},CONTROLLER://{controller}\nadvertised.listeners={listeners}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,TLS:SSL,MUTUAL:SSL,SASL:SASL_PLAINTEXT,SASLTLS:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nlog.dirs={folder}/data\n\
             ssl.keystore.type=PEM\nssl.keystore.location={folder}/server.pem\n\
             ssl.truststore.type=PEM\nssl.truststore.location={folder}/ca.crt\n\
             listener.name.mutual.ssl.client.auth=required\nssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n{logins}\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:tax\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\nlog.cleaner.backoff.ms=200\n{more}\n"
        )
    }

    /// Starts it again on the data that it left.
    pub fn begin(&mut self) {
        assert!(self.running.is_none());
        let (log, pid) = (self.path("broker.log"), self.path("broker.pid"));
        let _ = std::fs::remove_file(&pid);
        let said = std::fs::File::create(&log).unwrap();
        let mut java = java("kafka.Kafka");
        java.arg(self.path("server.properties"));
        let mut shell = Command::new("sh");
        // A background process of a shell that is not interactive reads from /dev/null, so the pipe stays the shell's.
        shell.args(["-c", "\"$@\" & echo $! > \"$PID_FILE\"; read -r _ || orphan=1; kill -9 $!; wait $!; [ -z \"$orphan\" ] || rm -rf \"$FOLDER\"", "sh"]);
        shell.arg(java.get_program()).args(java.get_args()).env("PID_FILE", &pid);
        // Nothing is left when this process ends without a word: what is shared by all tests is never dropped.
        shell.env("FOLDER", self.folder.path());
        let mut shell =
            shell.stdin(Stdio::piped()).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let care = shell.stdin.take().unwrap();
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        let deadline = Instant::now() + PATIENCE;
        while !read().contains("Kafka Server started") {
            let number = std::fs::read_to_string(&pid).unwrap_or_default();
            let gone = !number.trim().is_empty() && !Path::new("/proc").join(number.trim()).exists();
            assert!(!gone && Instant::now() < deadline, "the broker does not start:\n{}", read());
            std::thread::sleep(Duration::from_millis(50));
        }
        let pid = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        self.running = Some(Running { shell, _care: care, pid });
    }

    /// `kill -9`: as when its machine loses power, but for what the system still writes.
    pub fn kill(&mut self) {
        drop(self.running.take());
    }

    /// A clean end; [`begin`](Broker::begin) starts it again.
    pub fn stop(&mut self) {
        let running = self.running.take().unwrap();
        self.signal_to(running.pid, "TERM");
        let deadline = Instant::now() + PATIENCE;
        while is_alive(running.pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It stands still where it is, with its connections open.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        self.signal_to(self.running.as_ref().unwrap().pid, name);
    }

    fn signal_to(&self, pid: u32, name: &str) {
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{name} {pid}")]);
        done(kill);
    }

    /// One of Kafka's own tools against the unprotected listener.
    pub fn tool(&self, class: &str, words: &[&str]) -> String {
        let mut tool = java(class);
        tool.args(["--bootstrap-server", &self.plain()]).args(words);
        String::from_utf8(done(tool).stdout).unwrap()
    }

    /// Changes a topic's settings.
    pub fn set(&self, topic: &str, settings: &str) {
        let words = ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", settings];
        self.tool("kafka.admin.ConfigCommand", &words);
    }

    /// Makes, alters or deletes a topic.
    pub fn topic(&self, topic: &str, words: &[&str]) {
        self.tool("org.apache.kafka.tools.TopicCommand", &[&["--topic", topic], words].concat());
    }

    /// Deletes the records of a topic's only partition before an offset; -1 means all.
    pub fn cut(&self, topic: &str, before: i64) {
        let file = self.path("cut.json");
        let text = format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":{before}}}]}}"
        );
        std::fs::write(&file, text).unwrap();
        let words = ["--offset-json-file", file.to_str().unwrap()];
        self.tool("org.apache.kafka.tools.DeleteRecordsCommand", &words);
    }

    /// Gives a user rights.
    pub fn allow(&self, user: &str, words: &[&str]) {
        let principal = format!("User:{user}");
        let head = ["--add", "--allow-principal", &principal];
        self.tool("org.apache.kafka.tools.AclCommand", &[&head[..], words].concat());
    }

    /// Takes rights that were given in the same words.
    pub fn withdraw(&self, user: &str, words: &[&str]) {
        let principal = format!("User:{user}");
        let head = ["--remove", "--force", "--allow-principal", &principal];
        self.tool("org.apache.kafka.tools.AclCommand", &[&head[..], words].concat());
    }

    /// What the broker itself goes by, which is a moment behind what it was told.
    pub fn rights(&self) -> String {
        self.tool("org.apache.kafka.tools.AclCommand", &["--list"])
    }

    /// A CA that the broker has nothing to do with, as a file.
    pub fn foreign_ca(&self) -> String {
        self.path("foreign.crt").to_str().unwrap().to_owned()
    }

    /// The CA that signed the broker's certificate, as a file.
    pub fn ca(&self) -> String {
        self.path("ca.crt").to_str().unwrap().to_owned()
    }

    fn make_certificates(&self) {
        let script = r#"
            ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout $1.key -out $1.crt -subj "/CN=$1" \
                -addext basicConstraints=critical,CA:TRUE; }
            leaf() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $2.key -out $2.csr -subj "/CN=$2"
                printf 'subjectAltName=IP:127.0.0.1\n' > $2.ext
                openssl x509 -req -in $2.csr -CA $1.crt -CAkey $1.key -CAcreateserial -days 2 -extfile $2.ext -out $2.crt; }
            set -e; ca ca; ca foreign; leaf ca server; leaf ca tax; leaf foreign impostor; cat server.key server.crt > server.pem
        "#;
        let mut openssl = Command::new("sh");
        openssl.args(["-c", script]).current_dir(self.folder.path());
        done(openssl);
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

impl Drop for Running {
    fn drop(&mut self) {
        // A word in the pipe does the same as its end.
        let _ = self._care.write_all(b"\n");
        let _ = self.shell.wait();
    }
}
