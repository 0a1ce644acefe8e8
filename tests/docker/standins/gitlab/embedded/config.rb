# Evaluates the configuration as omnibus does (its defaults, GITLAB_OMNIBUS_CONFIG, then /etc/gitlab/gitlab.rb) and prints it
# as JSON. A syntax error, or a word that is no setting, ends it with the error and exit code 1.
require 'json'

URLS = %i[external_url registry_external_url pages_external_url mattermost_external_url gitlab_kas_external_url].freeze
GROUPS = %i[
  alertmanager bootstrap consul crond geo_postgresql geo_secondary git_data_dirs gitaly gitlab_exporter gitlab_kas gitlab_pages
  gitlab_rails gitlab_shell gitlab_sshd gitlab_workhorse high_availability letsencrypt logging logrotate mailroom
  manage_accounts manage_storage_directories mattermost mattermost_nginx nginx node_exporter omnibus_gitconfig package
  pages_nginx patroni pgbouncer pgbouncer_exporter postgres_exporter postgresql praefect prometheus prometheus_monitoring puma
  redis redis_exporter registry registry_nginx remote_syslog repmgr sentinel sidekiq spamcheck storage_check user web_server
].freeze

class Configuration
  attr_reader :values

  def initialize
    nested = proc { |hash, key| hash[key] = Hash.new(&nested) }
    @values = GROUPS.to_h { |name| [name, Hash.new(&nested)] }
  end

  GROUPS.each { |name| define_method(name) { @values[name] } }
  URLS.each { |name| define_method(name) { |value = nil| value.nil? ? @values[name] : @values[name] = value } }

  def roles(names) = @values[:roles] = names

  def method_missing(name, *_)
    raise NameError, "Mixlib::Config::UnknownConfigOptionError: Reading unsupported config value #{name}."
  end

  def respond_to_missing?(*) = false

  def read(text, file) = instance_eval(text, file)
end

configuration = Configuration.new
begin
  configuration.external_url("http://#{`hostname`.strip}")
  configuration.read(ENV.fetch('GITLAB_OMNIBUS_CONFIG', ''), 'GITLAB_OMNIBUS_CONFIG')
  configuration.read(File.read('/etc/gitlab/gitlab.rb'), '/etc/gitlab/gitlab.rb')
rescue SyntaxError, StandardError => e
  warn "FATAL: #{e.class}: #{e.message}", *e.backtrace.first(3)
  exit 1
end
puts JSON.generate(configuration.values)
