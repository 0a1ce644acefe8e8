# User, PersonalAccessToken and the settings, with the calls that set-up scripts make.
module Gitlab
  VERSION = '19.3.0'.freeze

  module CurrentSettings
    def self.current_application_settings = ApplicationSetting.current
  end
end

# A list of records that can be narrowed and added to.
class Relation
  include Enumerable

  def initialize(model, records, attributes = {})
    @model, @records, @attributes = model, records, attributes
  end

  def each(&) = @records.each(&)
  def where(conditions) = Relation.new(@model, select { |one| matches?(one, conditions) }, @attributes.merge(conditions))
  def find_by(conditions) = where(conditions).first
  def find_by!(conditions) = find_by(conditions) || raise(ActiveRecord::RecordNotFound, "Couldn't find #{@model}")
  def find(id) = find_by!(id: id)
  def active = Relation.new(@model, select(&:active?), @attributes)
  def last = to_a.last
  def empty? = none?
  def exists?(conditions = {}) = where(conditions).any?
  def pluck(name) = map(&name)
  def new(**attributes) = @model.new(**@attributes, **attributes)
  alias build new
  def create(**attributes) = new(**attributes).tap(&:save)
  def create!(**attributes) = new(**attributes).tap(&:save!)
  def first_or_create(**attributes) = first || create(**attributes)
  def first_or_create!(**attributes) = first || create!(**attributes)
  def find_or_create_by(**conditions) = where(conditions).first_or_create
  def find_or_create_by!(**conditions) = where(conditions).first_or_create!

  private

  def matches?(one, conditions)
    conditions.all? { |name, wanted| Array(wanted).include?(one.public_send(name)) || one.public_send(name) == wanted }
  end
end

class PersonalAccessToken
  LONGEST = 365
  SCOPES = %w[
    api read_api read_user create_runner manage_runner k8s_proxy self_rotate read_repository write_repository read_registry
    write_registry read_virtual_registry write_virtual_registry ai_features read_service_ping sudo admin_mode
  ].freeze
  FIELDS = %i[id user_id name scopes expires_at revoked digest].freeze
  attr_accessor(*FIELDS)
  attr_reader :token

  def self.all = Relation.new(self, Door.call(:tokens).map { |row| new(**row.slice(*FIELDS)) })
  def self.where(conditions) = all.where(conditions)
  def self.find_by(conditions) = all.find_by(conditions)
  def self.active = all.active
  def self.find_by_token(value) = all.find_by(digest: Digest::SHA256.hexdigest(value))

  def initialize(user: nil, **attributes)
    @user_id = user.id if user
    attributes.each { |name, value| public_send("#{name}=", value) }
  end

  def scopes=(values)
    @scopes = Array(values).map(&:to_s)
  end

  def expires_at=(value)
    @expires_at = value.is_a?(String) ? Date.parse(value) : value&.to_date
  end

  def set_token(value) = @token = value
  def user = User.find(user_id)
  def persisted? = !id.nil?
  def expired? = !expires_at.nil? && expires_at <= Date.today
  def active? = !revoked && !expired?
  def valid? = errors.empty?

  def errors
    found = []
    found << "Name can't be blank" if name.blank?
    found << "Scopes can't be blank" if scopes.blank?
    found << 'Scopes can only contain available scopes' unless (scopes || []).all? { |one| SCOPES.include?(one) }
    found << "Expiration date can't be blank" if expires_at.nil?
    limit = Date.today + LONGEST
    found << "Expiration date must be before #{limit + 1}" if expires_at && expires_at > limit
    found << 'User must exist' if user_id.nil?
    found << 'Token has already been taken' if token && self.class.find_by_token(token)&.then { |other| other.id != id }
    found
  end

  def save
    return false unless valid?

    @token ||= "glpat-#{SecureRandom.urlsafe_base64(15)}" unless persisted?
    changes = { user_id:, name:, scopes:, expires_at: expires_at.to_s }
    @id = Door.call(:save_token, id:, changes:, value: token)[:id]
    true
  end

  def save! = save || raise(ActiveRecord::RecordInvalid, "Validation failed: #{errors.join(', ')}")

  def revoke!
    Door.call(:revoke_token, id:)
    @revoked = true
  end
end

class User
  FIELDS = %i[id username name email admin state bot].freeze
  attr_accessor(*FIELDS, :password, :password_confirmation)
  alias admin? admin

  def self.all = Relation.new(self, Door.call(:users).map { |row| new(**row.slice(*FIELDS)) })
  def self.find(id) = all.find(id)
  def self.find_by(conditions) = all.find_by(conditions)
  def self.find_by!(conditions) = all.find_by!(conditions)
  def self.find_by_username(name) = all.find_by(username: name)
  def self.find_by_username!(name) = all.find_by!(username: name)
  def self.where(conditions) = all.where(conditions)
  def self.admins = all.where(admin: true)
  def self.first = all.first
  def self.count = all.count

  def initialize(**attributes) = attributes.each { |name, value| public_send("#{name}=", value) }

  def personal_access_tokens
    Relation.new(PersonalAccessToken, PersonalAccessToken.where(user_id: id).to_a, { user_id: id })
  end

  def save!
    raise ActiveRecord::RecordInvalid, 'Validation failed: Password is too short (minimum is 8 characters)' if short?

    Door.call(:save_user, id:, changes: { name:, email:, admin:, state:, password: }.compact)
    true
  end

  def save = short? ? false : save!

  def update!(**attributes)
    attributes.each { |name, value| public_send("#{name}=", value) }
    save!
  end

  private

  def short? = !password.nil? && password.length < 8
end

class ApplicationSetting
  def self.current = new(Door.call(:settings))
  def self.current_without_cache = current

  def initialize(values) = @values = values
  def respond_to_missing?(name, _ = false) = @values.key?(name)
  def method_missing(name, *) = @values.fetch(name) { super }

  def update!(**changes)
    unknown = changes.keys - @values.keys
    raise ActiveRecord::UnknownAttributeError, "unknown attribute '#{unknown.first}' for ApplicationSetting." if unknown.any?

    Door.call(:save_settings, changes:)
    @values.merge!(changes)
    true
  end
  alias update update!
end
