import { expect, test } from 'vitest';
import { readAddress, readEndpointUrl } from './address.ts';

test('config: when an address is host:port or [ipv6]:port, it is split, brackets off', () => {
  expect(readAddress('0.0.0.0:8080')).toEqual({ value: { host: '0.0.0.0', port: 8080 } });
  expect(readAddress('localhost:0')).toEqual({ value: { host: 'localhost', port: 0 } });
  expect(readAddress('[::1]:65535')).toEqual({ value: { host: '::1', port: 65535 } });
});

test('config: when an address is not one, the complaint says how it should look', () => {
  const complaints: [string, RegExp][] = [
    ['8080', /host:port/],
    [':8080', /host:port/],
    ['host', /host:port/],
    ['a b:1', /host:port/],
    ['256.1.1.1:1', /host:port/],
    ['host:65536', /port must be 0 to 65535/],
    ['host:', /port must be/],
    ['host:-1', /port must be/],
    ['::1:8080', /brackets/],
    ['[1.2.3.4]:80', /not an IPv6 address/],
  ];
  for (const [written, complaint] of complaints) {
    expect(readAddress(written), written).toHaveProperty('complaint', expect.stringMatching(complaint));
  }
});

test('config: when an endpoint URL is good, every part a connection needs is there', () => {
  expect(readEndpointUrl('HTTPS://API.Example.com:443/base/')).toEqual({
    value: {
      url: 'https://api.example.com/base',
      tls: true,
      host: 'api.example.com',
      port: 443,
      authority: 'api.example.com',
      basePath: '/base',
    },
  });
  expect(readEndpointUrl('http://[::1]:8000')).toEqual({
    value: { url: 'http://[::1]:8000', tls: false, host: '::1', port: 8000, authority: '[::1]:8000', basePath: '' },
  });
});

test('config: when an endpoint URL holds what an endpoint cannot have, it is refused', () => {
  const complaints: [string, RegExp][] = [
    ['localhost:8000', /must be a URL/],
    ['10.0.0.1:8000', /must be a URL/],
    ['ftp://h', /must be a URL/],
    ['http:h', /must be a URL/],
    [' http://h', /must be a URL/],
    ['http://h\\x', /must be a URL/],
    ['http://h:65536', /must be a URL/],
    ['http://h:0', /port must be 1 to 65535/],
    ['http://user@h', /user or password/],
    ['http://h/?', /query/],
    ['http://h/#', /fragment/],
    ['https://h/v1', /must not end in \/v1/],
    ['https://h/openai/v1/', /must not end in \/v1/],
  ];
  for (const [written, complaint] of complaints) {
    expect(readEndpointUrl(written), written).toHaveProperty('complaint', expect.stringMatching(complaint));
  }
});
