# gitlab-rails runner: the code meets the models that it would meet upstream, as far as a lab needs them. What they do not
# have fails with Ruby's own NoMethodError or NameError, and an unhandled error ends with exit code 1, as upstream.
require 'date'
require 'digest'
require 'json'
require 'securerandom'
require 'socket'
require_relative 'support'
require_relative 'models'

source = ARGV.shift or abort('Run `gitlab-rails runner CODE`, FILE or -')
code, name =
  if source == '-' then [$stdin.read, 'stdin']
  elsif File.exist?(source) then [File.read(source), source]
  else [source, 'CODE']
  end
begin
  TOPLEVEL_BINDING.eval(code, name)
rescue SyntaxError, StandardError => e
  warn "Please specify a valid ruby command or the path of a script to run.", "#{e.class}: #{e.message}", *e.backtrace.first(5)
  exit 1
end
