//! Credentials: from where the config says, and from nowhere else.

use std::{env, time::Duration};

use aws_config::{
    BehaviorVersion, Region, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig, sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials as Keys,
    provider::{ProvideCredentials, SharedCredentialsProvider, error},
};
use tokio::sync::Mutex;

use crate::clock::Timestamp;

/// Keys are fetched anew when they end within this time.
const REFRESH_BEFORE: Duration = Duration::from_secs(5 * 60);
/// The name that the account's own log shows for a role that was taken on.
const SESSION_NAME: &str = "tapevault";

/// Where credentials come from: always named, never whatever the environment happens to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A profile of the shared AWS config and credentials files.
    Profile {
        /// Its name.
        name: String,
        /// A role to take on with it.
        role: Option<Role>,
    },
    /// Keys in environment variables, whose names are given here.
    Environment {
        /// The variable with the access key id.
        key_id: String,
        /// The variable with the secret access key.
        secret: String,
        /// The variable with the session token.
        session_token: Option<String>,
    },
}

/// A role to take on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `arn:aws:iam::123456789012:role/tape-reader`.
    pub arn: String,
    /// What the role's trust policy asks for, if it does.
    pub external_id: Option<String>,
}

/// There are no credentials to sign with.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A variable that the config names is not set.
    #[error("environment variable {variable} is not set")]
    Variable {
        /// Its name.
        variable: String,
    },
    /// The profile or the role gave none.
    #[error("{from} gave no credentials")]
    Provider {
        /// The profile, or the role.
        from: String,
        /// The cause.
        #[source]
        cause: error::CredentialsError,
    },
}

/// Hands out keys, and fetches new ones before they end.
#[derive(Debug)]
pub(super) struct Keyring {
    choice: Credentials,
    region: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    provider: Option<SharedCredentialsProvider>,
    keys: Option<Keys>,
}

impl Keyring {
    /// Reads nothing yet. `region` is where a role is taken on.
    pub(super) fn new(choice: Credentials, region: &str) -> Self {
        Self { choice, region: region.to_owned(), state: Mutex::default() }
    }

    /// Keys that are good for some minutes more.
    ///
    /// # Errors
    ///
    /// When there are none, and none that still hold.
    pub(super) async fn keys(&self, now: Timestamp) -> Result<Keys, CredentialsError> {
        let mut state = self.state.lock().await;
        if let Some(keys) = &state.keys
            && !ends_before(keys, now.after(REFRESH_BEFORE))
        {
            return Ok(keys.clone());
        }
        let fetched = match &self.choice {
            Credentials::Environment { key_id, secret, session_token } => {
                from_environment(key_id, secret, session_token.as_deref())
            }
            Credentials::Profile { name, role } => {
                self.ask_provider(&mut state.provider, name, role.as_ref()).await
            }
        };
        match (fetched, &state.keys) {
            (Ok(keys), _) => {
                state.keys = Some(keys.clone());
                Ok(keys)
            }
            (Err(error), Some(old)) if !ends_before(old, now) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "keys not renewed yet");
                Ok(old.clone())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Drops the keys, since the service says that they have expired.
    pub(super) async fn forget(&self) {
        self.state.lock().await.keys = None;
    }

    async fn ask_provider(
        &self,
        provider: &mut Option<SharedCredentialsProvider>,
        profile: &str,
        role: Option<&Role>,
    ) -> Result<Keys, CredentialsError> {
        let made = match provider {
            Some(made) => made.clone(),
            None => provider.insert(self.provider(profile, role).await).clone(),
        };
        made.provide_credentials().await.map_err(|cause| CredentialsError::Provider {
            from: match role {
                Some(role) => format!("role {} with profile {profile}", role.arn),
                None => format!("profile {profile}"),
            },
            cause,
        })
    }

    async fn provider(&self, profile: &str, role: Option<&Role>) -> SharedCredentialsProvider {
        let region = Region::new(self.region.clone());
        let config = ProviderConfig::without_region().with_region(Some(region.clone()));
        let profile = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(profile)
            .build();
        let Some(role) = role else { return SharedCredentialsProvider::new(profile) };
        let profile = SharedCredentialsProvider::new(profile);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .credentials_provider(profile.clone())
            .load()
            .await;
        let mut builder =
            AssumeRoleProvider::builder(&role.arn).session_name(SESSION_NAME).configure(&config);
        if let Some(external_id) = &role.external_id {
            builder = builder.external_id(external_id);
        }
        SharedCredentialsProvider::new(builder.build_from_provider(profile).await)
    }
}

fn from_environment(
    key_id: &str,
    secret: &str,
    session_token: Option<&str>,
) -> Result<Keys, CredentialsError> {
    let read = |variable: &str| {
        env::var(variable).map_err(|_| CredentialsError::Variable { variable: variable.to_owned() })
    };
    let token = session_token.map(read).transpose()?;
    Ok(Keys::new(read(key_id)?, read(secret)?, token, None, "environment"))
}

fn ends_before(keys: &Keys, moment: Timestamp) -> bool {
    keys.expiry().is_some_and(|expiry| Timestamp::from(expiry) < moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = from_environment("TAPEVAULT_NO_SUCH_KEY", "PATH", None).unwrap_err();
        assert_eq!(error.to_string(), "environment variable TAPEVAULT_NO_SUCH_KEY is not set");
    }

    #[test]
    fn keys_that_end_soon_count_as_ended() {
        let end = Timestamp::from_parts(1_000, 0);
        let expiry = std::time::UNIX_EPOCH + Duration::from_secs(1_000);
        let keys = Keys::new("a", "b", None, Some(expiry), "test");
        assert!(ends_before(&keys, end.after(Duration::from_nanos(1))));
        assert!(!ends_before(&keys, end));
    }
}
