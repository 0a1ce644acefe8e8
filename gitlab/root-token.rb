# Gives root an access token: the one thing that GitLab's API cannot do for somebody without a token. A template: name, token.
#
# Run inside GitLab's container with "gitlab-rails runner FILE", which starts the whole of Rails once (a minute, 500 MB). Rails
# keeps only a digest of the token.
user = User.find_by_username('root')

# An older one of this name is of no use any more: its value was lost, or it ends soon.
user.personal_access_tokens.where(name: '${name}', revoked: false).each { |old| old.revoke! }

# 365 days are the most that GitLab allows; "1.year.from_now" would be a day too much in a leap year.
token = user.personal_access_tokens.build(name: '${name}', scopes: ['api', 'sudo'], expires_at: 365.days.from_now)
token.set_token('${token}')
token.save!
