//! Makes connections to Redis, however it is arranged: to one server, to the master that sentinels name, or to a
//! cluster. Every new connection looks again for where the master is. The timing, and what follows from a failure,
//! are `link.rs`'s.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, select_ok, try_join_all};
use redis::aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError, RedisFuture, Value,
};

use super::RedisConfig;
use super::address::Address;
use super::failure::is_outage;
use super::nodes::ClusterNodes;
use super::tls::RedisTls;

/// Never exists. Deleting it is a write that changes nothing, so that a replica answers `READONLY`.
const CHECK_KEY: &str = "phoenix:check";
/// Nodes of a cluster that are tried at once for a subscription.
const NODES_AT_ONCE: usize = 3;
/// Redirections that one command of a cluster follows. Its deadline counts for all of them.
const REDIRECTIONS: u32 = 3;
/// Longest pause before one of them, in milliseconds.
const REDIRECTION_PAUSE_MS: u64 = 10;

/// Where Redis is.
pub(super) struct Target {
    place: Place,
    /// How TLS is spoken with all of them; the places themselves do not say it.
    tls: Option<RedisTls>,
    connect_timeout: Duration,
    command_timeout: Duration,
}

enum Place {
    /// One server, or a name that always leads to the master.
    Server(ConnectionInfo),
    /// The master of a service.
    Sentinel { sentinels: Vec<ConnectionInfo>, service: String, settings: RedisConnectionInfo },
    /// Nodes from the address, and those that the cluster named.
    Cluster { seeds: Vec<ConnectionInfo>, known: Mutex<Vec<ConnectionInfo>> },
}

/// Clones share one connection.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Target {
    /// Reads the address. Does not connect.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, RedisError> {
        let (address, secure) = Address::parse(&config.url)?;
        let tls = secure.then(|| RedisTls::new(&config.trusted)).transpose()?;
        let place = match address {
            Address::Server(info) => Place::Server(without_delay(info)),
            Address::Sentinel { sentinels, service, settings } => Place::Sentinel {
                sentinels: sentinels.into_iter().map(without_delay).collect(),
                service,
                settings,
            },
            Address::Cluster(nodes) => Place::Cluster {
                seeds: nodes.into_iter().map(without_delay).collect(),
                known: Mutex::default(),
            },
        };
        let target = Self {
            place,
            tls,
            connect_timeout: config.connect_timeout,
            command_timeout: config.command_timeout,
        };
        if let Place::Cluster { seeds, .. } = &target.place {
            target.cluster(seeds.clone())?;
        }
        Ok(target)
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        match &self.place {
            Place::Server(info) => self.server(info, self.command_timeout).await.map(Connection::Server),
            Place::Sentinel { sentinels, service, settings } => {
                let (_info, connection) = self.master(sentinels, service, settings).await?;
                Ok(Connection::Server(connection))
            }
            Place::Cluster { seeds, known } => {
                let connection = self.cluster(all_nodes(seeds, known))?.get_async_connection().await?;
                Ok(Connection::Cluster(connection))
            }
        }
    }

    /// A new connection of its own to this node of a cluster or, without one, to the server or the master. Waits for
    /// answers as long as for connections; whoever sends has a deadline.
    pub(super) async fn single(
        &self,
        node: Option<&ConnectionInfo>,
    ) -> Result<MultiplexedConnection, RedisError> {
        match (&self.place, node) {
            (Place::Server(info), _) | (Place::Cluster { .. }, Some(info)) => {
                self.server(info, self.connect_timeout).await
            }
            (Place::Sentinel { sentinels, service, settings }, _) => {
                let (_info, mut connection) = self.master(sentinels, service, settings).await?;
                connection.set_response_timeout(self.connect_timeout);
                Ok(connection)
            }
            (Place::Cluster { .. }, None) => {
                Err(RedisError::from((ErrorKind::InvalidClientConfig, "a cluster has many servers")))
            }
        }
    }

    /// What the log calls it: the server's address, the service, or nothing.
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::Server(info) => info.addr().to_string(),
            Place::Sentinel { service, .. } => service.clone(),
            Place::Cluster { .. } => String::new(),
        }
    }

    /// The nodes of the address if it is a cluster's.
    pub(super) fn cluster_seeds(&self) -> Option<&[ConnectionInfo]> {
        if let Place::Cluster { seeds, .. } = &self.place { Some(seeds) } else { None }
    }

    /// A new connection on which messages can be received; `pushes` gets them. In a cluster it leads to any node,
    /// because a node passes messages on to all others; other values of `turn` prefer other nodes.
    pub(super) async fn subscriber(
        &self,
        pushes: impl AsyncPushSender,
        turn: usize,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = match &self.place {
            Place::Server(info) => info.clone(),
            Place::Sentinel { sentinels, service, settings } => {
                self.master(sentinels, service, settings).await?.0
            }
            Place::Cluster { seeds, known } => {
                let mut nodes = all_nodes(seeds, known);
                let first = turn.checked_rem(nodes.len()).unwrap_or_default();
                nodes.rotate_left(first);
                let ways = nodes.into_iter().take(NODES_AT_ONCE).map(|node| self.in_order(node).boxed());
                let ((info, _connection), _slower) =
                    select_ok(ways.collect::<Vec<BoxFuture<'_, _>>>()).await?;
                info
            }
        };
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.connect_timeout))
            .set_push_sender(pushes);
        self.client(info.set_redis_settings(settings))?
            .get_multiplexed_async_connection_with_config(&options)
            .await
    }

    /// Whether Redis takes writes; of a cluster, whether all masters are there.
    pub(super) async fn check(&self, mut connection: Connection) -> Result<(), RedisError> {
        if let (Connection::Cluster(connection), Place::Cluster { seeds, known }) =
            (&mut connection, &self.place)
        {
            let nodes = ClusterNodes::ask(connection).await?;
            nodes.all_masters_answer(connection).await?;
            let named = nodes.with_settings_of(seeds);
            *known.lock().unwrap_or_else(PoisonError::into_inner) = named;
        }
        takes_writes(&mut connection).await
    }

    /// A connection not made by then has failed.
    pub(super) fn connect_bound(&self) -> Duration {
        match self.place {
            Place::Server(_) => self.connect_timeout,
            // First to a sentinel or any node, then to the master or all nodes.
            Place::Sentinel { .. } | Place::Cluster { .. } => self.connect_timeout * 2,
        }
    }

    /// A check that takes longer has failed. Each of its commands has the command time-out.
    pub(super) fn check_bound(&self) -> Duration {
        match self.place {
            Place::Server(_) | Place::Sentinel { .. } => self.command_timeout,
            Place::Cluster { .. } => self.command_timeout * 3,
        }
    }

    /// For a server, under TLS if that is asked for. Everything but a cluster's own connections goes through here.
    fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        Client::open(match &self.tls {
            Some(tls) => tls.protect(info),
            None => info,
        })
    }

    async fn server(
        &self,
        info: &ConnectionInfo,
        answer_within: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(answer_within));
        self.client(info.clone())?.get_multiplexed_async_connection_with_config(&options).await
    }

    /// The master that the sentinels name. All are asked at once: one that hangs, or knows only the old master, must
    /// not keep us from the others.
    async fn master(
        &self,
        sentinels: &[ConnectionInfo],
        service: &str,
        settings: &RedisConnectionInfo,
    ) -> Result<(ConnectionInfo, MultiplexedConnection), RedisError> {
        let ways = sentinels.iter().map(|sentinel| self.through(sentinel, service, settings).boxed());
        let (found, _slower) = select_ok(ways.collect::<Vec<BoxFuture<'_, _>>>()).await?;
        Ok(found)
    }

    /// The master that this sentinel names.
    async fn through(
        &self,
        sentinel: &ConnectionInfo,
        service: &str,
        settings: &RedisConnectionInfo,
    ) -> Result<(ConnectionInfo, MultiplexedConnection), RedisError> {
        let mut connection = self.server(sentinel, self.connect_timeout).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
        let (host, port) = answer.ok_or_else(|| {
            RedisError::from((
                ErrorKind::MasterNameNotFoundBySentinel,
                "the sentinel does not know the service in REDIS_URL",
            ))
        })?;
        let info = ConnectionAddr::Tcp(host, port).into_connection_info()?;
        self.in_order(without_delay(info.set_redis_settings(settings.clone()))).await
    }

    /// A connection to this server, once it has proved to serve, and if it is no node of a cluster, as the master.
    async fn in_order(
        &self,
        info: ConnectionInfo,
    ) -> Result<(ConnectionInfo, MultiplexedConnection), RedisError> {
        let connection = self.server(&info, self.command_timeout).await?;
        match takes_writes(&mut connection.clone()).await {
            Err(error) if is_outage(&error) => Err(error),
            _ => Ok((info, connection)),
        }
    }

    fn cluster(&self, nodes: Vec<ConnectionInfo>) -> Result<ClusterClient, RedisError> {
        let builder = ClusterClient::builder(nodes)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.command_timeout)
            .retries(REDIRECTIONS)
            .min_retry_wait(1)
            .max_retry_wait(REDIRECTION_PAUSE_MS)
            .tcp_settings(nodelay());
        match &self.tls {
            Some(tls) => tls.protect_cluster(builder).build(),
            None => builder.build(),
        }
    }
}

impl Connection {
    /// Sends commands of which each has a key of its own, without waiting for one before the next.
    pub(super) async fn send_all(self, commands: Vec<Cmd>) -> Result<(), RedisError> {
        match self {
            Self::Server(mut connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command).ignore();
                }
                pipeline.query_async(&mut connection).await
            }
            // A pipeline of the driver goes to one node. These share each node's connection just as well.
            Self::Cluster(connection) => {
                let sent = commands.into_iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { command.query_async::<()>(&mut connection).await }
                });
                try_join_all(sent).await.map(|_done| ())
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// A node of a cluster replies `MOVED` or takes it, and `CLUSTERDOWN` when it is cut off from the others.
pub(super) async fn takes_writes(connection: &mut impl ConnectionLike) -> Result<(), RedisError> {
    redis::cmd("DEL").arg(CHECK_KEY).query_async(connection).await
}

/// The nodes of the address first, without those that are known by both.
fn all_nodes(seeds: &[ConnectionInfo], known: &Mutex<Vec<ConnectionInfo>>) -> Vec<ConnectionInfo> {
    let mut seen = HashSet::new();
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let nodes = seeds.iter().chain(known.iter());
    nodes.filter(|node| seen.insert(node.addr().to_string())).cloned().collect()
}

fn without_delay(info: ConnectionInfo) -> ConnectionInfo {
    info.set_tcp_settings(nodelay())
}

/// The driver leaves Nagle's algorithm on.
fn nodelay() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}
