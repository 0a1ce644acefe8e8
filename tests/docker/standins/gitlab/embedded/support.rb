# What code takes from ActiveSupport and ActiveRecord without thinking about it, and the door to the data.
module Door
  PATH = '/var/opt/gitlab/gitlab-rails/sockets/door'.freeze

  def self.call(name, **arguments)
    body = JSON.generate(arguments)
    answer = UNIXSocket.open(PATH) do |socket|
      socket.write("POST /#{name} HTTP/1.0\r\nHost: door\r\nContent-Type: application/json\r\n" \
                   "Content-Length: #{body.bytesize}\r\n\r\n#{body}")
      socket.read
    end
    head, text = answer.split("\r\n\r\n", 2)
    raise "the stand-in's data: #{head.lines.first}" unless head.include?(' 200 ')

    JSON.parse(text, symbolize_names: true)
  rescue Errno::ENOENT, Errno::ECONNREFUSED => e
    raise ActiveRecord::ConnectionNotEstablished, "connection to server on socket failed: #{e.message}"
  end
end

module ActiveRecord
  class ConnectionNotEstablished < StandardError; end
  class RecordNotFound < StandardError; end
  class RecordInvalid < StandardError; end
  class UnknownAttributeError < NoMethodError; end
end

Duration = Struct.new(:from) do
  def from_now = from.call(Date.today)
  def ago = Duration.new(->(day) { day - (from.call(day) - day) }).from_now
  alias_method :since, :from_now
end

class Integer
  def days = Duration.new(->(day) { day + self })
  def weeks = Duration.new(->(day) { day + (7 * self) })
  def months = Duration.new(->(day) { day >> self })
  def years = Duration.new(->(day) { day >> (12 * self) })
  alias day days
  alias week weeks
  alias month months
  alias year years
end

class Object
  def blank? = respond_to?(:empty?) ? empty? : !self
  def present? = !blank?
  def presence = present? ? self : nil
  def try(name, ...) = respond_to?(name) ? public_send(name, ...) : nil
end

class Time
  def self.current = now
  def self.zone = self
end

class Date
  def self.current = today
end
