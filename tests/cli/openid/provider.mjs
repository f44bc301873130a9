// An OpenID provider that signs with a key of its own making, until its standard input ends: node provider.mjs FOLDER PORT KEY_ID AUDIENCE
// FOLDER is where `npm install` has put oidc-provider.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, port, kid, audience] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(createRequire(join(folder, 'here.js')).resolve('oidc-provider')));
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const scope = 'events:read events:append';
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    { client_id: 'analyst', client_secret: 'a-secret-of-the-provider', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' }] },
  scopes: ['openid', ...scope.split(' ')],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: (_, resource) => ({
        scope,
        audience: resource,
        accessTokenTTL: 600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('ready'));
process.stdin.on('end', () => process.exit(0)).resume();
