//! A PostgreSQL server for a test alone: its own folder, port, roles and certificates, so that it can be stopped, filled and
//! asked for a certificate. A shell waits on a pipe from here and ends the server when the pipe closes, however this
//! process ends.
//!
//! Its binaries are those of `deploy/dev/services.sh`; `PG` chooses the version. As root it runs as `nobody`.
//!
//! | user | how it comes in |
//! |---|---|
//! | `postgres` | from this machine, without a word |
//! | `plain` | the same: an ordinary role |
//! | `proven` | with TLS and a certificate of the server's CA with this name |

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use deploy_ports::Port;

use crate::application::Application;

/// How long anything of a server may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A server that runs, or could.
pub struct Server {
    folder: tempfile::TempDir,
    home: PathBuf,
    port: Port,
    running: Option<Running>,
}

struct Running {
    shell: Child,
    /// The shell reads from it; when it closes, the server is ended.
    care: Option<ChildStdin>,
}

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{words}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

pub fn is_root() -> bool {
    said(Command::new("id").arg("-u")).trim() == "0"
}

/// A command as the server's user.
fn as_server(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let group = said(Command::new("id").args(["-g", "nobody"]));
    command.args(["--reuid=nobody", &format!("--regid={}", group.trim()), "--clear-groups", "--"]);
    command.arg(program).env("HOME", "/nonexistent");
    command
}

/// Gives a folder to the server's user, who alone may look into it.
pub fn give(folder: &Path) {
    if is_root() {
        said(Command::new("chown").arg("-R").arg("nobody").arg(folder));
    }
    said(Command::new("chmod").arg("700").arg(folder));
}

impl Server {
    pub fn start() -> Server {
        let root = crate::process::repository();
        let mut fetch = Command::new(root.join("deploy/dev/services.sh"));
        let home = PathBuf::from(said(fetch.args(["fetch", "postgres"])).trim());
        let folder = tempfile::tempdir().unwrap();
        said(Command::new("chmod").arg("755").arg(folder.path()));
        let mut server = Server { folder, home, port: Port::reserve().unwrap(), running: None };
        let data = server.path("data");
        std::fs::create_dir(&data).unwrap();
        give(&data);
        let mut initdb = as_server(&server.home.join("bin/initdb"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"]);
        said(initdb.arg(&data).current_dir("/"));
        server.make_certificates();
        let access = "hostssl all proven 127.0.0.1/32 cert\nhost all proven 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust\n";
        std::fs::write(data.join("pg_hba.conf"), access).unwrap();
        server.begin();
        server.application("postgres").run("CREATE ROLE plain LOGIN; CREATE ROLE proven LOGIN;");
        server
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// As its superuser.
    pub fn application(&self, database: &str) -> Application {
        Application::connect(self.port(), database)
    }

    /// Starts it on the data that it left.
    pub fn begin(&mut self) {
        assert!(self.running.is_none());
        let (data, log) = (self.path("data"), self.path("server.log"));
        let file = std::fs::File::create(&log).unwrap();
        let mut postgres = as_server(&self.home.join("bin/postgres"));
        postgres.arg("-D").arg(&data);
        for setting in [
            format!("port={}", self.port()),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "shared_buffers=32MB".to_owned(),
            "max_wal_size=64MB".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_ca_file={}", self.path("ca.crt").display()),
            format!("ssl_cert_file={}", data.join("server.crt").display()),
            format!("ssl_key_file={}", data.join("server.key").display()),
        ] {
            postgres.args(["-c", &setting]);
        }
        let mut shell = Command::new("sh");
        // QUIT ends it at once and leaves nothing behind; a word in the pipe asks for a clean end.
        let script = "\"$@\" & if read -r _; then kill -INT $!; else orphan=1; kill -QUIT $!; fi; wait $!; [ -z \"$orphan\" ] || rm -rf \"$FOLDER\"";
        shell.args(["-c", script, "sh"]).arg(postgres.get_program()).args(postgres.get_args());
        shell.env("HOME", "/nonexistent").env("FOLDER", self.folder.path()).current_dir("/");
        let mut shell =
            shell.stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let care = shell.stdin.take();
        self.running = Some(Running { shell, care });
        let deadline = Instant::now() + PATIENCE;
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        while !read().contains("database system is ready to accept connections") {
            let ended = self.running.as_mut().unwrap().shell.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the server does not start:\n{}", read());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A clean end; [`begin`](Server::begin) starts it again.
    pub fn stop(&mut self) {
        drop(self.running.take());
    }

    /// What it has said since it began.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    fn make_certificates(&self) {
        let script = r#"
            ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout $1.key -out $1.crt -subj "/CN=$1" \
                -addext basicConstraints=critical,CA:TRUE; }
            leaf() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $2.key -out $2.csr -subj "/CN=$3"
                printf 'subjectAltName=DNS:localhost\n' > $2.ext
                openssl x509 -req -in $2.csr -CA $1.crt -CAkey $1.key -CAcreateserial -days 2 -extfile $2.ext -out $2.crt; }
            set -e; ca ca; ca foreign; leaf ca server localhost; leaf ca proven proven; leaf foreign impostor proven
            cp server.crt server.key data/; chmod 600 data/server.key proven.key impostor.key; chmod 644 ca.crt
        "#;
        let mut openssl = Command::new("sh");
        said(openssl.args(["-c", script]).current_dir(self.folder.path()));
        give(&self.path("data"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        use std::io::Write;
        if let Some(mut care) = self.care.take() {
            // A server that has ended by itself reads nothing any more.
            let _ = care.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}
